"""Faults of calls, between MiniStack's door and its services: every service's callers meet them alike.

A call that is refused has not been authorized yet, as on AWS, where throttling comes first.
"""

import asyncio
import contextvars
import functools
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.ministack.core.asgi import AsgiApp, Receive, Scope, Send, json_error
from localcloud.ministack.core.asgi import Response as Answer
from tests.faults import workers
from tests.faults.events import Veils
from tests.faults.matching import Plan
from tests.faults.plan import DOOR

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


def mend(plan: Plan, veils: Veils) -> None:
    """Let calls fail as planned, and Describe's answers be old where they are to be."""
    from ministack import app

    serve: AsgiApp = app.app
    dispatch = app._dispatch_service_request

    @functools.wraps(serve)
    async def serving(scope: Scope, receive: Receive, send: Send) -> None:
        _port.set((scope.get("client") or ("", 0))[1])
        await serve(scope, receive, send)

    @functools.wraps(dispatch)
    async def dispatching(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], request_id: str
    ) -> Answer:
        async def answered() -> Answer:
            answer: Answer = await dispatch(method, path, headers, body, query, request_id)
            return answer

        if path.startswith(DOOR) or (not plan.waits("call") and not veils):
            return await answered()
        call = _Call.of(method, path, headers, body, query)
        fault = plan.take("call", [call.operation, f"{call.service}:{call.operation}"], call.names(), call.by)
        if fault is not None:
            return await _strike(fault, call, answered)
        answer = await answered()
        return _veiled(answer, veils) if call.operation == "DescribeExecution" else answer

    app.app = serving
    app._dispatch_service_request = dispatching


@dataclass(frozen=True)
class _Call:
    """One request: the service (MiniStack's name), the operation, its content, the function that sent it."""

    service: str
    operation: str
    path: str
    document: Mapping[str, Any]
    by: tuple[str, ...]

    @classmethod
    def of(
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
        document = _document(body) if target else parameters
        key = router.extract_access_key_id(headers, query)
        return cls(service, operation, urllib.parse.unquote(path), document, workers.function_of(key))

    def names(self) -> list[str]:
        """Every text of the request that may be a resource's name, and the ends of its ARNs."""
        texts = list(_texts(self.document))
        parts = self.path.strip("/").split("/")
        return [
            *texts,
            *(text.rsplit("/", 1)[-1] for text in texts if text.startswith("arn:")),
            *("/".join(parts[start:]) for start in range(len(parts))),
        ]


async def _strike(fault: dict[str, Any], call: _Call, answered: Any) -> Answer:
    if "seconds" in fault:
        await asyncio.sleep(fault["seconds"])
        answer: Answer = await answered()
        return answer
    if "kill" in fault:
        if fault["kill"] == "after":
            await answered()
        workers.kill(call.by[0], _port.get())
        return _error(call.service, 500, "InternalFailure", "Nobody hears this.")
    if fault["error"] == "lost":
        await answered()
        return _error(call.service, 500, "InternalFailure", "The answer was lost.")
    if fault["error"] == "throttled":
        code, status = _THROTTLED.get(call.service, ("ThrottlingException", 400))
        return _error(call.service, status, code, "Rate exceeded")
    if fault["error"] == "denied":
        code, status = _DENIED.get(call.service, ("AccessDeniedException", 400))
        message = f"User: {'/'.join(call.by) or 'a user'} is not authorized to perform: {call.operation}"
        return _error(call.service, status, code, message)
    return _error(call.service, fault["status"], fault["error"], fault["message"])


def _veiled(answer: Answer, veils: Veils) -> Answer:
    """DescribeExecution's answer, of an execution that is not to be seen to have ended yet."""
    status, headers, body = answer
    described = _document(body)
    if status != 200 or veils.over(described["executionArn"]) is None:
        return answer
    shown = {
        name: value
        for name, value in described.items()
        if name not in ("stopDate", "output", "error", "cause")
    }
    return status, headers, json.dumps({**shown, "status": "RUNNING"}).encode()


def _error(service: str, status: int, code: str, message: str) -> Answer:
    from ministack.core import iam_actions

    protocol = iam_actions._SERVICE_PROTOCOL.get(service, "json")
    if protocol not in _XML:
        return json_error(status, code, message)
    return status, {"Content-Type": "text/xml"}, _XML[protocol].format(code=code, message=message).encode()


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
