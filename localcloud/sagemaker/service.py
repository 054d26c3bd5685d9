"""The local SageMaker: AWS's control plane and runtime API as far as a client can see them.

A request takes these steps: its operation is looked up in one table, its body read and checked against
botocore's model (shapes.py), its caller authorised on the resources the operation touches (access.py), the
operation's function called (jobs.py, models.py, endpoint_configs.py, endpoints.py), and its result written by
the output's shape.

What AWS has and this has not is refused with a sentence that says so, never accepted and ignored: inference
pipelines, multi-model and asynchronous endpoints, inference components, serverless training, algorithms and
model packages by name. Accepted and described, but without effect on one machine: VPC and encryption
settings, data capture.

Everything that may wait runs on threads, never on the event loop; invocations, which may wait a minute for a
model, have threads of their own so that they never keep the control plane waiting.
"""

import asyncio
import contextvars
import json
import logging
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.model import OperationNotFoundError

from localcloud.sagemaker import runtime_api, shapes
from localcloud.sagemaker.access import Caller
from localcloud.sagemaker.context import Context
from localcloud.sagemaker.deployment import FleetFactory
from localcloud.sagemaker.endpoint_configs import EndpointConfigs
from localcloud.sagemaker.endpoints import Endpoints
from localcloud.sagemaker.errors import (
    AccessDeniedError,
    RuntimeAccessDeniedError,
    SerializationError,
    ServiceError,
    UnknownOperationError,
)
from localcloud.sagemaker.events import Announcer
from localcloud.sagemaker.host import Host
from localcloud.sagemaker.hosting import Fleet
from localcloud.sagemaker.jobs import RunFactory, TrainingJobs
from localcloud.sagemaker.models import Models
from localcloud.sagemaker.tag_operations import TagOperations
from localcloud.sagemaker.training import TrainingRun

Response = tuple[int, dict[str, str], bytes]

TARGET = "SageMaker."
CONTROL_THREADS = 8
INVOCATION_THREADS = 64

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operation:
    """One operation: what runs it, on which ARNs it is authorised, which member holds a role it passes."""

    run: Callable[[dict[str, Any]], dict[str, Any] | None]
    resources: Callable[[dict[str, Any]], list[str]]
    role: str | None = None


class SageMaker:
    """One account's SageMaker in one region.

    `directory` holds what jobs and endpoints have on disk while they run. `training_run` and `fleet` make the
    processes.
    """

    def __init__(
        self,
        host: Host,
        directory: Path,
        *,
        training_run: RunFactory = TrainingRun,
        fleet: FleetFactory = Fleet,
    ) -> None:
        self._host = host
        self._context = Context(host, directory, Announcer(host))
        self._models = Models(self._context)
        self._configs = EndpointConfigs(self._context, self._models)
        self._endpoints = Endpoints(self._context, self._configs, self._models, fleet)
        self._jobs = TrainingJobs(self._context, training_run)
        self._tags = TagOperations(self._context, self._jobs, self._models, self._configs, self._endpoints)
        self._runtime = runtime_api.Runtime(self._context, self._endpoints)
        self._operations = self._table()
        self._control = ThreadPoolExecutor(CONTROL_THREADS, "sagemaker")
        self._invocations = ThreadPoolExecutor(INVOCATION_THREADS, "sagemaker-runtime")

    async def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, Any],
    ) -> Response:
        """Answer one HTTP request: (status, headers, body)."""
        request = _Request(method, path, headers, body, query)
        endpoint = runtime_api.endpoint_name(method, urllib.parse.unquote(path))
        if endpoint is not None:
            return await self._on(self._invocations, partial(self._invoke, request, endpoint))
        return await self._on(self._control, partial(self._call, request))

    def close(self) -> None:
        """End every process of every job and endpoint."""
        self._jobs.close()
        self._endpoints.close()
        self._context.announcer.close()
        self._control.shutdown(wait=False, cancel_futures=True)
        self._invocations.shutdown(wait=False, cancel_futures=True)

    def _table(self) -> dict[str, Operation]:
        """Every operation there is."""
        jobs, models, configs = self._jobs, self._models, self._configs
        endpoints, tags = self._endpoints, self._tags
        job = self._named("training-job", "TrainingJobName")
        model = self._named("model", "ModelName")
        config = self._named("endpoint-config", "EndpointConfigName")
        endpoint = self._named("endpoint", "EndpointName")

        def endpoint_and_config(request: dict[str, Any]) -> list[str]:
            return endpoint(request) + config(request)

        return {
            "CreateTrainingJob": Operation(jobs.create, job, role="RoleArn"),
            "DescribeTrainingJob": Operation(jobs.describe, job),
            "ListTrainingJobs": Operation(jobs.list, _anything),
            "StopTrainingJob": Operation(jobs.stop, job),
            "CreateModel": Operation(models.create, model, role="ExecutionRoleArn"),
            "DescribeModel": Operation(models.describe, model),
            "ListModels": Operation(models.list, _anything),
            "DeleteModel": Operation(models.delete, model),
            "CreateEndpointConfig": Operation(configs.create, config, role="ExecutionRoleArn"),
            "DescribeEndpointConfig": Operation(configs.describe, config),
            "ListEndpointConfigs": Operation(configs.list, _anything),
            "DeleteEndpointConfig": Operation(configs.delete, config),
            "CreateEndpoint": Operation(endpoints.create, endpoint_and_config),
            "UpdateEndpoint": Operation(endpoints.update, endpoint_and_config),
            "DescribeEndpoint": Operation(endpoints.describe, endpoint),
            "ListEndpoints": Operation(endpoints.list, _anything),
            "DeleteEndpoint": Operation(endpoints.delete, endpoint),
            "AddTags": Operation(tags.add, _tagged),
            "ListTags": Operation(tags.list, _tagged),
            "DeleteTags": Operation(tags.delete, _tagged),
        }

    def _named(self, kind: str, member: str) -> Callable[[dict[str, Any]], list[str]]:
        return lambda request: [self._context.arn(kind, request[member])]

    def _call(self, request: "_Request") -> Response:
        """The control plane: JSON 1.1, the operation in X-Amz-Target."""
        try:
            name = request.header("x-amz-target").removeprefix(TARGET)
            if not name:
                raise UnknownOperationError(
                    f"The local SageMaker has nothing at {request.method} {request.path}."
                )
            operation = self._operation(name)
            model = shapes.operation_model(name)
            parameters = shapes.request(model, request.document())
            self._authorize(request.caller(self._host, AccessDeniedError), name, operation, parameters)
            result = operation.run(parameters)
            if model.output_shape is None:
                return _answer(200, b"", "application/x-amz-json-1.1")
            body = json.dumps(shapes.document(model.output_shape, result or {}), allow_nan=False)
            return _answer(200, body.encode(), "application/x-amz-json-1.1")
        except ServiceError as error:
            return _failure(error)
        except Exception:
            _log.exception("an operation failed")
            return _failure(ServiceError("We encountered an internal error. Please try again."))

    def _operation(self, name: str) -> Operation:
        try:
            return self._operations[name]
        except KeyError:
            pass
        try:
            shapes.operation_model(name)
        except (OperationNotFoundError, BotoCoreError):
            raise UnknownOperationError(f"SageMaker has no operation {name}.") from None
        raise UnknownOperationError(
            f"The local SageMaker does not have {name}; it has {', '.join(sorted(self._operations))}."
        )

    def _authorize(self, caller: Caller, name: str, operation: Operation, parameters: dict[str, Any]) -> None:
        resources = operation.resources(parameters)
        for resource in resources:
            caller.authorize(f"sagemaker:{name}", resource)
        if name.startswith("Create") and parameters.get("Tags"):
            caller.authorize("sagemaker:AddTags", resources[0])
        if operation.role and operation.role in parameters:
            caller.authorize_pass_role(parameters[operation.role])

    def _invoke(self, request: "_Request", endpoint: str) -> Response:
        """The runtime API: REST, the answer's body is the model's own."""
        try:
            caller = request.caller(self._host, RuntimeAccessDeniedError)
            caller.authorize("sagemaker:InvokeEndpoint", self._context.arn("endpoint", endpoint))
            answer = self._runtime.invoke(endpoint, request.lowered(), request.body)
            return _answer(
                200, answer.body, answer.content_type, {"x-Amzn-Invoked-Production-Variant": answer.variant}
            )
        except ServiceError as error:
            return _failure(error)
        except Exception:
            _log.exception("an invocation failed")
            return _failure(ServiceError("We encountered an internal error. Please try again."))

    async def _on(self, pool: ThreadPoolExecutor, call: Callable[[], Response]) -> Response:
        # The host knows the request being handled by context variables; they go along to the thread.
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(call))


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, Any]

    def lowered(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def header(self, name: str) -> str:
        return self.lowered().get(name, "")

    def document(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise SerializationError(f"The request body is not JSON: {error}.") from error

    def caller(self, host: Host, denied: type[Exception]) -> Caller:
        return Caller(host, self.headers, self.query, denied)


def _anything(_: dict[str, Any]) -> list[str]:
    return ["*"]


def _tagged(request: dict[str, Any]) -> list[str]:
    return [request["ResourceArn"]]


def _answer(
    status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    always = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return status, always | dict(headers or {}), body


def _failure(error: ServiceError) -> Response:
    """An error as both protocols carry it: JSON 1.1 reads __type, REST reads the header; 413 has no code at
    all.
    """
    document = {"message": str(error), "Message": str(error)} | error.members()
    if error.code == str(error.status):
        return _answer(error.status, json.dumps(document).encode(), "application/json")
    body = json.dumps({"__type": error.code} | document).encode()
    return _answer(error.status, body, "application/x-amz-json-1.1", {"x-amzn-ErrorType": error.code})
