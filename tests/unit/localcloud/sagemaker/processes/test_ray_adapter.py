"""The adapter of Ray Serve: SageMaker's two paths, and only for callers with the token."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from localcloud.sagemaker.processes.programs.ray_adapter import middlewares

HOLDER = {"Authorization": "Bearer token"}
Call = Callable[..., tuple[int, str]]


async def _serve(scope: Any, receive: Any, send: Any) -> None:
    """A stand-in for Serve that returns 202 with the request's path and body."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode() + b" " + body})


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """call(method, path, body, headers): status and text that come through the adapter."""
    monkeypatch.setenv("LOCALCLOUD_TOKEN_SHA256", hashlib.sha256(b"token").hexdigest())
    (adapter,) = middlewares()
    wrap: Any = adapter.cls
    app = wrap(_serve)

    def call(method: str, path: str, body: bytes = b"", headers: dict[str, str] = HOLDER) -> tuple[int, str]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": lines}
        asyncio.run(app(scope, receive, send))
        return sent[0]["status"], sent[1]["body"].decode()

    return call


def test_an_invocation_reaches_the_root_and_is_logged(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("POST", "/invocations", b"words") == (202, "/ words")
    assert capsys.readouterr().out.startswith('"POST /invocations" 202 ')


def test_a_ping_reaches_the_health_check_and_is_not_logged(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("GET", "/ping") == (202, "/-/healthz ")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("GET", "/-/healthz"), ("GET", "/-/routes"), ("GET", "/invocations")]
)
def test_other_paths_do_not_exist(call: Call, method: str, path: str) -> None:
    assert call(method, path)[0] == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}, {"Authorization": "Bearer "}])
@pytest.mark.parametrize(("method", "path"), [("POST", "/invocations"), ("GET", "/ping"), ("GET", "/")])
def test_only_callers_with_the_token_are_accepted(
    call: Call, method: str, path: str, headers: dict[str, str]
) -> None:
    assert call(method, path, b"words", headers)[0] == 403
