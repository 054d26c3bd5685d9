"""The types that the server, MiniStack and a service's handler exchange."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Response]]
"""Returns the response to (method, path, headers, body, query)."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def json_error(status: int, code: str, message: str) -> Response:
    """Return an error response in AWS's JSON protocol."""
    body = json.dumps({"__type": code, "message": message}).encode()
    return status, {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}, body
