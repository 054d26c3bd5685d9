"""Faults of API calls: refused, slow or without a response, in the same way for every service.

Faults strike before a request is authorized, as throttling does on AWS.
"""

import asyncio
import contextvars
import functools
import json
import threading
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.ministack.core.asgi import AsgiApp, Receive, Response, Scope, Send, json_error
from tests.faults.harness import lambda_processes
from tests.faults.harness.client import PATH
from tests.faults.harness.event_delivery import FormerStates
from tests.faults.harness.fault_plan import FaultPlan

_THROTTLED = {
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "lambda": ("TooManyRequestsException", 429),
    "s3": ("SlowDown", 503),
    "sns": ("Throttled", 429),
}
_DENIED = {
    "s3": ("AccessDenied", 403),
    "sns": ("AuthorizationError", 403),
    "lambda": ("AccessDeniedException", 403),
}
_XML = {
    "rest-xml": "<Error><Code>{code}</Code><Message>{message}</Message></Error>",
    "query-xml": "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    "</Error></ErrorResponse>",
}

_port: contextvars.ContextVar[int] = contextvars.ContextVar("caller's port", default=0)


def patch(plan: FaultPlan, former_states: FormerStates) -> None:
    """Let planned faults strike between MiniStack's HTTP server and its services."""
    from ministack import app

    serve: AsgiApp = app.app
    dispatch = app._dispatch_service_request

    @functools.wraps(serve)
    async def serve_and_note_port(scope: Scope, receive: Receive, send: Send) -> None:
        _port.set((scope.get("client") or ("", 0))[1])
        await serve(scope, receive, send)

    @functools.wraps(dispatch)
    async def dispatch_with_faults(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], request_id: str
    ) -> Response:
        async def perform() -> Response:
            response: Response = await dispatch(method, path, headers, body, query, request_id)
            return response

        if path.startswith(PATH) or (not plan.has("call") and not former_states):
            return await perform()
        call = _Call.parse(method, path, headers, body, query)
        fault = plan.take("call", [call.operation, f"{call.service}:{call.operation}"], call.names(), call.by)
        if fault is not None:
            return await _strike(fault, call, perform, plan.delays_over)
        response = await perform()
        return _former(response, former_states) if call.operation == "DescribeExecution" else response

    app.app = serve_and_note_port
    app._dispatch_service_request = dispatch_with_faults


@dataclass(frozen=True)
class _Call:
    """A request: MiniStack's name of the service, the operation, its content, and the names of its caller."""

    service: str
    operation: str
    path: str
    document: Mapping[str, Any]
    by: tuple[str, ...]

    @classmethod
    def parse(
        cls, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> "_Call":
        from ministack import app
        from ministack.core import iam_actions, router

        parameters = app._routing_params(method, path, headers, body, query)
        service = router.detect_service(method, path, headers, parameters)
        target = headers.get("x-amz-target", "")
        if target:
            operation = target.rsplit(".", 1)[-1]
        elif service == "sagemaker":
            operation = "InvokeEndpoint"
        else:
            action = iam_actions.extract_iam_action(service, method, path, headers, body, parameters)
            operation = (action or "").rpartition(":")[2]
        document = _json_object(body) if target else parameters
        key = router.extract_access_key_id(headers, query)
        return cls(
            service, operation, urllib.parse.unquote(path), document, lambda_processes.caller_names(key)
        )

    def names(self) -> list[str]:
        """Return every text of the request that may be a resource's name, and the ends of its ARNs."""
        texts = list(_texts(self.document))
        parts = self.path.strip("/").split("/")
        return [
            *texts,
            *(text.rsplit("/", 1)[-1] for text in texts if text.startswith("arn:")),
            *("/".join(parts[start:]) for start in range(len(parts))),
        ]


async def _strike(
    fault: dict[str, Any],
    call: _Call,
    perform: Callable[[], Awaitable[Response]],
    delays_over: threading.Event,
) -> Response:
    if "seconds" in fault:
        end = time.monotonic() + fault["seconds"]
        while time.monotonic() < end and not delays_over.is_set():
            await asyncio.sleep(0.01)
        return await perform()
    if "kill" in fault:
        if fault["kill"] == "after":
            await perform()
        lambda_processes.kill(call.by[0], _port.get())
        return _error(call.service, 500, "InternalFailure", "The caller was killed.")
    if fault["error"] == "lost":
        await perform()
        return _error(call.service, 500, "InternalFailure", "The response was lost.")
    if fault["error"] == "throttled":
        code, status = _THROTTLED.get(call.service, ("ThrottlingException", 400))
        return _error(call.service, status, code, "Rate exceeded")
    if fault["error"] == "denied":
        code, status = _DENIED.get(call.service, ("AccessDeniedException", 400))
        message = f"User: {'/'.join(call.by) or 'a user'} is not authorized to perform: {call.operation}"
        return _error(call.service, status, code, message)
    return _error(call.service, fault["status"], fault["error"], fault["message"])


def _former(response: Response, former_states: FormerStates) -> Response:
    """Return DescribeExecution's response as before the execution's end, if the end is not visible yet."""
    status, headers, body = response
    described = _json_object(body)
    if status != 200 or former_states.get(described["executionArn"]) is None:
        return response
    of_the_end = ("stopDate", "output", "error", "cause")
    shown = {name: value for name, value in described.items() if name not in of_the_end}
    return status, headers, json.dumps({**shown, "status": "RUNNING"}).encode()


def _error(service: str, status: int, code: str, message: str) -> Response:
    from ministack.core import iam_actions

    protocol = iam_actions._SERVICE_PROTOCOL.get(service, "json")
    if protocol not in _XML:
        return json_error(status, code, message)
    return status, {"Content-Type": "text/xml"}, _XML[protocol].format(code=code, message=message).encode()


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for member in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(member)
