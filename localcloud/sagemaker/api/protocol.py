"""AWS's JSON protocol 1.1 for a table of operations: one path, with the operation in X-Amz-Target.

For each request, `JsonApi.call` looks up the operation, checks the body against botocore's model (shapes.py),
authorizes the caller on the operation's resources (access.py), runs the operation, and writes the result by
the model's output shape.
"""

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.model import OperationNotFoundError

from localcloud.sagemaker.api import shapes
from localcloud.sagemaker.api.access import Caller, keys_of_tags
from localcloud.sagemaker.core.errors import (
    AccessDeniedError,
    InternalError,
    SerializationError,
    ServiceError,
    UnknownOperationError,
)
from localcloud.sagemaker.core.host import Host

Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

JSON, REST_JSON = "application/x-amz-json-1.1", "application/json"
"""The Content-Type of the control plane's responses, and of the runtime's errors."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operation:
    """An operation of a service.

    run: handles the checked request.
    resources: returns the ARNs that the request is authorized on.
    role: the member with a role that the caller passes to SageMaker.
    also: further authorization, or None.
    """

    run: Callable[[dict[str, Any]], dict[str, Any] | None]
    resources: Callable[[dict[str, Any]], list[str]]
    role: str | None = None
    also: Callable[[Caller, dict[str, Any]], None] | None = None


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, Any]

    def lowered(self) -> dict[str, str]:
        """Return the headers by lower-case name."""
        return {name.lower(): value for name, value in self.headers.items()}

    def header(self, name: str) -> str:
        """Return a header by its lower-case name, or an empty string."""
        return self.lowered().get(name, "")

    def document(self) -> Any:
        """Return the body's JSON; raise SerializationError if it is not JSON."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise SerializationError(f"The request body is not JSON: {error}.") from error

    def caller(self, host: Host, denied: type[Exception]) -> Caller:
        """Return the request's signer."""
        return Caller(host, self.headers, self.query, denied)


class JsonApi:
    """The operations of one service."""

    def __init__(
        self, host: Host, service: str, title: str, target: str, operations: Mapping[str, Operation]
    ) -> None:
        """Define a service.

        Args:
            host: Authorizes callers.
            service: botocore's name of the service, also the prefix of its IAM actions.
            title: The service's name in messages.
            target: The prefix of X-Amz-Target.
            operations: The operations by name.
        """
        self._host = host
        self._service = service
        self._title = title
        self._target = target
        self._operations = operations

    def call(self, request: Request) -> Response:
        """Run the operation that the request names; return errors as responses, too."""
        try:
            name = request.header("x-amz-target").removeprefix(f"{self._target}.")
            if not name:
                raise UnknownOperationError(
                    f"The local {self._title} has nothing at {request.method} {request.path}."
                )
            operation = self._operation(name)
            model = shapes.operation_model(name, self._service)
            parameters = shapes.request(model, request.document())
            self._authorize(request.caller(self._host, AccessDeniedError), name, operation, parameters)
            result = operation.run(parameters)
            if model.output_shape is None:
                return response(200, b"", JSON)
            body = json.dumps(shapes.document(model.output_shape, result or {}), allow_nan=False)
            return response(200, body.encode(), JSON)
        except ServiceError as error:
            return failure(error)
        except Exception:
            _log.exception("An operation failed")
            return failure(InternalError())

    def _operation(self, name: str) -> Operation:
        try:
            return self._operations[name]
        except KeyError:
            pass
        try:
            shapes.operation_model(name, self._service)
        except (OperationNotFoundError, BotoCoreError):
            raise UnknownOperationError(f"{self._title} has no operation {name}.") from None
        raise UnknownOperationError(
            f"The local {self._title} does not have {name}; it has {', '.join(sorted(self._operations))}."
        )

    def _authorize(self, caller: Caller, name: str, operation: Operation, parameters: dict[str, Any]) -> None:
        resources, keys = operation.resources(parameters), keys_of_tags(parameters)
        for resource in resources:
            caller.authorize(f"{self._service}:{name}", resource, keys)
        if name.startswith("Create") and parameters.get("Tags"):
            creation = {**keys, f"{self._service}:TaggingAction": name}
            caller.authorize(f"{self._service}:AddTags", resources[0], creation)
        if operation.role and operation.role in parameters:
            caller.authorize_pass_role(parameters[operation.role])
        if operation.also:
            operation.also(caller, parameters)


def anything(_: dict[str, Any]) -> list[str]:
    """Return the resources of an operation that AWS does not authorize by resource."""
    return ["*"]


def response(
    status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with the headers that every response has."""
    always = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return status, always | dict(headers or {}), body


def failure(error: ServiceError, content_type: str = JSON) -> Response:
    """Return an error in both protocols: JSON 1.1 reads __type, REST reads the header; 413 has no code."""
    document = {"message": str(error), "Message": str(error)} | error.members()
    if error.code == str(error.status):
        return response(error.status, json.dumps(document).encode(), REST_JSON)
    body = json.dumps({"__type": error.code} | document).encode()
    return response(error.status, body, content_type, {"x-amzn-ErrorType": error.code})
