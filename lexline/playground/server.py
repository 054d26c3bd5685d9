"""The page's server: routes, errors, and its life from the start to Ctrl-C."""

from __future__ import annotations

import errno
import hmac
import json
import logging
import os
import socket
import tempfile
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lexline.aws import client_errors
from lexline.aws.stack import Stack
from lexline.core.errors import UsageError, UserError
from lexline.display import terminal
from lexline.playground import guard
from lexline.playground.local_models import LocalModels
from lexline.playground.runs import Runs
from lexline.playground.texts import Texts

HOST = "127.0.0.1"
_STATIC = Path(__file__).with_name("static")
_MOST_BYTES = 2 * 1024 * 1024
"""The most that is read of a request. The API has a lower limit, and a message for it."""
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
"""The environment variables with which a browser has a window to open."""
_logger = logging.getLogger("lexline.playground")

Operation = Callable[[Mapping[str, Any]], Any]
"""Takes the fields of a request, and returns a document."""


def application(stack: Stack, port: int, token: str, models: LocalModels) -> ASGIApp:
    """Return the server as an ASGI application.

    Args:
        stack: The stack that the page shows.
        port: The port on which the server listens.
        token: The secret that the page sends.
        models: The models that run on this machine.
    """
    texts, runs = Texts(stack, models), Runs(stack, token)

    async def report(request: Request) -> Response:
        run = request.path_params["run"]
        if not hmac.compare_digest(request.path_params["signature"], guard.signature(token, run)):
            return PlainTextResponse("Open the report from the page.", 403)
        try:
            return HTMLResponse(await run_in_threadpool(runs.report, run))
        except (UserError, *client_errors.ERRORS) as error:
            problem = _problem(error)
            return PlainTextResponse(f"{problem.message}\n{problem.hint}", _status(problem))

    operations: dict[str, Operation] = {
        "stack": texts.stack,
        "generate": texts.generate,
        "score": texts.score,
        "curl": texts.curl,
        "models": runs.models,
        "history": runs.history,
        "overview": runs.overview,
        "run": runs.run,
        "rollback-plan": runs.rollback_plan,
        "rollback": runs.rollback,
        "deploy": runs.deploy,
    }
    routes = [
        Route(f"/api/{name}", _route(operation), methods=["POST"]) for name, operation in operations.items()
    ]
    routes.append(Route(f"{guard.REPORTS}{{run}}/{{signature}}", report))
    static = Mount("/", StaticFiles(directory=_STATIC, html=True))
    return guard.Guard(Starlette(routes=[*routes, static]), port, token)


def _route(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        try:
            fields = _fields(await _body(request))
            return JSONResponse(_finite(await run_in_threadpool(operation, fields)))
        except (UserError, *client_errors.ERRORS) as error:
            problem = _problem(error)
        except Exception:
            _logger.exception("A request of the page failed: %s", request.url.path)
            problem = UserError(
                "The playground's server failed on this request.",
                "Its terminal shows the error. Reload the page, or start `lexline playground` again.",
            )
        document = {"message": problem.message, "hint": terminal.with_options(problem.hint)}
        return JSONResponse(document, _status(problem))

    return respond


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise UsageError(f"The request has more than {_MOST_BYTES:,} bytes.", "Shorten the text.")
    return body


def _fields(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UsageError("The request is not a JSON object.", "Reload the page.")
    return document


def _finite(document: Any) -> Any:
    """Return a document with null for each number that JSON does not have."""
    if isinstance(document, float):
        return document if abs(document) < float("inf") else None
    if isinstance(document, Mapping):
        return {name: _finite(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [_finite(value) for value in document]
    return document


def _problem(error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(*client_errors.explain(error, terminal.stack_options.get("--profile")))


def _status(problem: UserError) -> int:
    # 502: the stack, for which this server speaks, refused or failed.
    return 400 if isinstance(problem, UsageError) else 502


def run(stack: Stack, port: int, *, open_browser: bool, announce: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        stack: The stack that the page shows.
        port: A port of 127.0.0.1, or 0 for a free one.
        open_browser: Open the page in the user's browser.
        announce: Gets the page's address when the server listens.

    Raises:
        UserError: The port cannot be used.
    """
    listener = _listen(port)
    token = guard.new_token()
    with tempfile.TemporaryDirectory(prefix="lexline-playground-") as folder, listener:
        chosen = listener.getsockname()[1]
        address = f"http://{HOST}:{chosen}/#{token}"
        announce(address)
        with LocalModels(stack, Path(folder)) as models:
            if open_browser:
                _open(Path(folder), address)
            config = uvicorn.Config(
                application(stack, chosen, token, models),
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=2,
            )
            uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UserError(
            f"The port {port} of {HOST} cannot be used: {os.strerror(error.errno)}.",
            "Give another one with --port, or leave --port out for a free one.",
        ) from error


def _open(folder: Path, address: str) -> None:
    """Open the page in the browser through a file that only this user can read.

    Other users can see the arguments of the browser's process, so they must not have the token.
    """
    file = folder / "open.html"
    file.write_text(f'<meta http-equiv="refresh" content="0; url={address}">', encoding="utf-8")
    # Without a screen, Python would start a browser in the terminal, and wait for its end.
    if any(os.environ.get(name) for name in _SCREENS):
        webbrowser.open(file.as_uri())
