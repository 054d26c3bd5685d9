"""The local SageMaker: the control plane and runtime API of AWS, as far as a client can see them.

One table lists every operation: the function that handles it (training/, hosting/, registry/, core/tags.py)
and the resources that its caller is authorized on. api/protocol.py says how a request is processed.
To add an operation, add a row to `_table`. To add a kind of resource, add a folder with the same files as the
others: records.py (state), checks.py (requests), and one module for its operations. What it runs is in
processes/, in the image that processes/images.py chooses.

The local SageMaker refuses, with a message, features of AWS that it does not have: inference pipelines,
multi-model and asynchronous endpoints, inference components, serverless training, algorithms, and models
created from a model package. It accepts and describes, without effect on one machine: VPC and encryption
options, data capture.

Everything that may wait runs on threads, never on the event loop. Invocations may wait a minute for a model,
so they have their own threads and cannot block the control plane.
"""

import asyncio
import contextvars
import logging
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from localcloud.sagemaker.api.protocol import (
    REST_JSON,
    JsonApi,
    Operation,
    Request,
    Response,
    anything,
    failure,
)
from localcloud.sagemaker.core.context import Context
from localcloud.sagemaker.core.errors import InternalError, RuntimeAccessDeniedError, ServiceError
from localcloud.sagemaker.core.events import Announcer
from localcloud.sagemaker.core.host import Host
from localcloud.sagemaker.core.resources import Resources
from localcloud.sagemaker.core.tags import TagOperations
from localcloud.sagemaker.hosting.endpoint_configs import EndpointConfigs
from localcloud.sagemaker.hosting.endpoints import Endpoints
from localcloud.sagemaker.hosting.invocations import Invocations, endpoint_name
from localcloud.sagemaker.hosting.launch import FleetFactory
from localcloud.sagemaker.hosting.models import Models
from localcloud.sagemaker.hosting.scaling import ScaledEndpoints, ServedVariant, Targets
from localcloud.sagemaker.processes.fleet import Fleet
from localcloud.sagemaker.processes.training_run import TrainingRun
from localcloud.sagemaker.registry.model_package_groups import ModelPackageGroups
from localcloud.sagemaker.registry.model_packages import ModelPackages
from localcloud.sagemaker.training.records import RunFactory
from localcloud.sagemaker.training.training_jobs import TrainingJobs

TARGET = "SageMaker"
CONTROL_THREADS = 8
INVOCATION_THREADS = 64

_log = logging.getLogger(__name__)


class SageMaker:
    """One account's SageMaker in one region."""

    def __init__(
        self,
        host: Host,
        directory: Path,
        targets: Targets,
        *,
        training_run: RunFactory = TrainingRun,
        fleet: FleetFactory = Fleet,
    ) -> None:
        """Create the service.

        Args:
            host: The cloud around the service.
            directory: Holds the files of jobs and endpoints while they run. It is the region's folder in a
                folder of the local cloud's own, which training jobs cannot see.
            targets: The variants that are scalable targets of Application Auto Scaling.
            training_run: Creates the processes of a training job.
            fleet: Creates the processes of a production variant.
        """
        self._host = host
        self._context = Context(host, directory, Announcer(host))
        self._models = Models(self._context)
        self._configs = EndpointConfigs(self._context, self._models)
        self._endpoints = Endpoints(self._context, self._configs, self._models, fleet)
        self._scaled = ScaledEndpoints(self._endpoints, self._configs, targets)
        self._jobs = TrainingJobs(self._context, training_run)
        self._groups = ModelPackageGroups(self._context)
        self._packages = ModelPackages(self._context, self._groups)
        owners = (self._jobs, self._models, self._configs, self._endpoints, self._groups)
        self._tags = TagOperations(self._context.lock, self._context.tags, *owners)
        self._invocations = Invocations(self._context, self._endpoints)
        self._api = JsonApi(host, "sagemaker", "SageMaker", TARGET, self._table())
        self._control_threads = ThreadPoolExecutor(CONTROL_THREADS, "sagemaker")
        self._invocation_threads = ThreadPoolExecutor(INVOCATION_THREADS, "sagemaker-runtime")

    async def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, Any],
    ) -> Response:
        """Handle one HTTP request; return status, headers and body."""
        request = Request(method, path, headers, body, query)
        endpoint = endpoint_name(method, urllib.parse.unquote(path))
        if endpoint is not None:
            return await self._on(self._invocation_threads, partial(self._invoke, request, endpoint))
        return await self._on(self._control_threads, partial(self._api.call, request))

    def variant(self, endpoint: str, name: str) -> ServedVariant | None:
        """Return the variant that an endpoint serves under this name, or None."""
        return self._scaled.served(endpoint, name)

    def tags(self) -> list[tuple[str, list[dict[str, str]]]]:
        """Return the ARN of each resource that has tags, with its tags as the API lists them."""
        with self._context.lock:
            return self._context.tags.all()

    def close(self) -> None:
        """End every process of every job and endpoint."""
        self._jobs.close()
        self._endpoints.close()
        self._context.announcer.close()
        self._control_threads.shutdown(wait=False, cancel_futures=True)
        self._invocation_threads.shutdown(wait=False, cancel_futures=True)

    def _table(self) -> dict[str, Operation]:
        """Return every operation by its name."""
        jobs, models, configs = self._jobs, self._models, self._configs
        endpoints, groups, packages = self._endpoints, self._groups, self._packages
        tags, tagged = self._tags, _member("ResourceArn")
        job, model = _named(jobs, "TrainingJobName"), _named(models, "ModelName")
        config, endpoint = _named(configs, "EndpointConfigName"), _named(endpoints, "EndpointName")
        group, package = _named(groups, "ModelPackageGroupName"), _named(packages, "ModelPackageName")

        def endpoint_and_config(request: dict[str, Any]) -> list[str]:
            return endpoint(request) + config(request)

        return {
            "CreateTrainingJob": Operation(jobs.create, job, role="RoleArn"),
            "DescribeTrainingJob": Operation(jobs.describe, job),
            "ListTrainingJobs": Operation(jobs.list, anything),
            "StopTrainingJob": Operation(jobs.stop, job),
            "CreateModel": Operation(models.create, model, role="ExecutionRoleArn"),
            "DescribeModel": Operation(models.describe, model),
            "ListModels": Operation(models.list, anything),
            "DeleteModel": Operation(models.delete, model),
            "CreateEndpointConfig": Operation(configs.create, config, role="ExecutionRoleArn"),
            "DescribeEndpointConfig": Operation(configs.describe, config),
            "ListEndpointConfigs": Operation(configs.list, anything),
            "DeleteEndpointConfig": Operation(configs.delete, config),
            "CreateEndpoint": Operation(endpoints.create, endpoint_and_config),
            "UpdateEndpoint": Operation(self._scaled.update, endpoint_and_config),
            "DescribeEndpoint": Operation(endpoints.describe, endpoint),
            "ListEndpoints": Operation(endpoints.list, anything),
            "DeleteEndpoint": Operation(self._scaled.delete, endpoint, also=self._scaled.authorize_delete),
            "CreateModelPackageGroup": Operation(groups.create, group),
            "DescribeModelPackageGroup": Operation(groups.describe, group),
            "ListModelPackageGroups": Operation(groups.list, anything),
            "DeleteModelPackageGroup": Operation(groups.delete, group),
            "CreateModelPackage": Operation(packages.create, packages.resources_of_create),
            "DescribeModelPackage": Operation(packages.describe, package),
            "ListModelPackages": Operation(packages.list, anything),
            "UpdateModelPackage": Operation(packages.update, _member("ModelPackageArn")),
            "DeleteModelPackage": Operation(packages.delete, package),
            "AddTags": Operation(tags.add, tagged),
            "ListTags": Operation(tags.list, tagged),
            "DeleteTags": Operation(tags.delete, tagged),
        }

    def _invoke(self, request: Request, endpoint: str) -> Response:
        try:
            caller = request.caller(self._host, RuntimeAccessDeniedError)
            caller.authorize("sagemaker:InvokeEndpoint", self._endpoints.arn(endpoint))
            return self._invocations.invoke(endpoint, request.lowered(), request.body)
        except ServiceError as error:
            return failure(error, REST_JSON)
        except Exception:
            _log.exception("An invocation failed")
            return failure(InternalError(), REST_JSON)

    async def _on(self, pool: ThreadPoolExecutor, call: Callable[[], Response]) -> Response:
        # The host finds the request in context variables, so the thread runs in a copy of the context.
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(call))


def _named(resources: Resources[Any], member: str) -> Callable[[dict[str, Any]], list[str]]:
    """Return a function that reads a resource's name or ARN from this member."""
    return lambda request: [resources.arn(request[member])]


def _member(member: str) -> Callable[[dict[str, Any]], list[str]]:
    """Return a function that takes a request and returns the ARN in this field of it."""
    return lambda request: [request[member]]
