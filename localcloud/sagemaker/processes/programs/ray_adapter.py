"""The adapter of AWS's Ray image, inside Serve's proxy: /invocations leads to /, /ping to Serve's own health
check, nothing else is there, and only the holder of the instance's token may call.

The proxy's environment knows the token's digest only, for the user's code runs with the same.
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
    """Passes on what SageMaker asks a container for, logs invocations, and refuses the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._digest = os.environ["LOCALCLOUD_TOKEN_SHA256"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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

        async def hear(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._app(scope, receive, hear)
        if scope["method"] == "POST":
            print(f'"POST /invocations" {status} {round(1000 * (time.monotonic() - began))} ms', flush=True)

    def _allowed(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"").removeprefix(b"Bearer ")
        return hmac.compare_digest(hashlib.sha256(given).hexdigest(), self._digest)


def middlewares() -> list[Middleware]:
    """What Serve's proxy is to be wrapped in (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH)."""
    return [Middleware(Adapter)]
