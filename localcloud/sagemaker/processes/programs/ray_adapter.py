"""The adapter of AWS's Ray image, inside Ray Serve's proxy.

It maps /invocations to / and /ping to Serve's health check, refuses every other path, and accepts only
callers with the instance's token. The proxy's environment holds only the token's digest, because the user's
code runs with the same environment.
"""

import hashlib
import hmac
import os
import time

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PATHS = {("POST", "/invocations"): "/", ("GET", "/ping"): "/-/healthz"}


class Adapter:
    """Passes on the requests that SageMaker sends to a container, logs invocations, refuses all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._digest = os.environ["LOCALCLOUD_TOKEN_SHA256"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            return
        path = _PATHS.get((scope["method"], scope["path"]))
        if not self._allowed(scope):
            # The body stays unread.
            await PlainTextResponse("not authorized", 403, {"Connection": "close"})(scope, receive, send)
        elif path is None:
            await PlainTextResponse("no such path", 404, {"Connection": "close"})(scope, receive, send)
        else:
            await self._pass_on({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        status = 0

        async def send_response(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._app(scope, receive, send_response)
        if scope["method"] == "POST":
            print(f'"POST /invocations" {status} {round(1000 * (time.monotonic() - began))} ms', flush=True)

    def _allowed(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"").removeprefix(b"Bearer ")
        return hmac.compare_digest(hashlib.sha256(given).hexdigest(), self._digest)


def middlewares() -> list[Middleware]:
    """Return the middlewares of Serve's HTTP proxy.

    Serve finds this function through the variable RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
    """
    return [Middleware(Adapter)]
