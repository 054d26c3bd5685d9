"""Who may use the page's server: the person who started it, in the browser, and nobody else.

The server can deploy models and spends money on AWS, so each of these would be an attack:

    another user of this machine      has no token: every request under /api/ needs it in a header
    another program's page            has another origin, which is refused; and cannot know the token
    a site that rebinds its name      its requests name another host, which is refused
    a report, text or name with HTML  the page loads scripts only from the server, and inserts text as text
    a site that shows the page        the page refuses to be framed

The token is in the fragment of the page's address, which browsers send to nobody. A cookie would be sent to
all other servers on 127.0.0.1, too.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REPORTS = "/report/"
"""The path of the reports. Each has an address with a signature, because a link cannot send a header."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
REPORT_POLICY = (
    "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Anybody who may write to the bucket can write a report, so it gets no scripts and an origin of its own."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """ASGI middleware that refuses requests of others, and adds the headers that protect the page.

    Args:
        app: The application.
        port: The port of 127.0.0.1 on which the server listens.
        token: The secret of this server.
    """

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._origins = {f"http://{host}" for host in self._hosts}
        self._bearer = f"Bearer {token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers["Content-Security-Policy"] = (
                    REPORT_POLICY if scope["path"].startswith(REPORTS) else PAGE_POLICY
                )
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_protected)

    def _refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Response | None:
        if headers.get("host") not in self._hosts:
            return _refuse(421, "This server responds only to requests for 127.0.0.1.")
        if "origin" in headers and headers["origin"] not in self._origins:
            return _refuse(403, "This server responds only to its own page.")
        from_elsewhere = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        # A person may follow a link to the page itself, for example from the file that opens it.
        opens_page = (
            method == "GET"
            and path == "/"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if from_elsewhere and not opens_page:
            return _refuse(403, "This server responds only to its own page.")
        if path.startswith("/api/"):
            given = headers.get("authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, self._bearer.encode()):
                return _refuse(
                    401,
                    "This page does not have the token of the running playground.",
                    "Open the address that `lexline playground` printed.",
                )
            if method == "POST" and headers.get("content-type") != "application/json":
                return _refuse(415, "Send JSON, with the header Content-Type: application/json.")
        return None


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def signature(token: str, run: str) -> str:
    """Return the secret part of the address of a run's report. It opens nothing else."""
    return hmac.new(token.encode(), run.encode(), hashlib.sha256).hexdigest()


def _refuse(status: int, message: str, hint: str = "") -> Response:
    return JSONResponse({"message": message, "hint": hint}, status)
