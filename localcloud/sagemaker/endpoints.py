"""Endpoints: the records, their status machine, and the operations on them.

    CreateEndpoint: Creating -> InService | Failed
    UpdateEndpoint: InService -> Updating -> InService           (with the new configuration)
                                 Updating -> RollingBack -> InService  (with the old one, and a FailureReason)
    DeleteEndpoint: InService | Failed -> Deleting -> gone

An update is blue/green: the new configuration's fleet starts beside the one that serves, takes over when it
answers /ping, and the old one ends when its last request is answered. Each change of an endpoint has a thread
of its own. DeploymentConfig is checked and kept; traffic always shifts all at once, and no alarm is watched.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.sagemaker import deployment_config, listing
from localcloud.sagemaker.context import Context, now
from localcloud.sagemaker.deployment import INVOCATION_TIMEOUT, Deployment, FleetFactory, deploy
from localcloud.sagemaker.endpoint_configs import EndpointConfig, EndpointConfigs
from localcloud.sagemaker.errors import ServiceError, ValidationError
from localcloud.sagemaker.hosting import FleetFailed
from localcloud.sagemaker.models import Model, Models
from localcloud.sagemaker.tags import tags_of

LOG_GROUP = "/aws/sagemaker/Endpoints/{}"
IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
MAX_REASON = 1024  # characters of a FailureReason

_log = logging.getLogger(__name__)


@dataclass
class Endpoint:
    """One endpoint's record."""

    name: str
    arn: str
    config: EndpointConfig
    created: datetime
    modified: datetime
    status: str = "Creating"
    failure_reason: str | None = None
    serving: Deployment | None = None
    pending: EndpointConfig | None = None
    pending_since: datetime | None = None
    deployment_config: dict[str, Any] | None = None

    def enter(self, status: str) -> None:
        self.status = status
        self.modified = now()

    def summary(self) -> dict[str, Any]:
        return {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "EndpointStatus": self.status,
        }

    def describe(self) -> dict[str, Any]:
        """What DescribeEndpoint answers; until an update has succeeded, of what still serves."""
        description = self.summary() | {
            "EndpointConfigName": self.config.name,
            "FailureReason": self.failure_reason,
            "LastDeploymentConfig": self.deployment_config,
            "DataCaptureConfig": _data_capture(self.config),
        }
        if self.serving:
            description["ProductionVariants"] = [variant.summary() for variant in self.serving.variants]
        if self.pending:
            description["PendingDeploymentSummary"] = {
                "EndpointConfigName": self.pending.name,
                "ProductionVariants": [_pending(variant) for variant in self.pending.variants],
                "StartTime": self.pending_since,
            }
        return description


class Endpoints:
    """The operations on endpoints."""

    def __init__(
        self, context: Context, configs: EndpointConfigs, models: Models, fleet: FleetFactory
    ) -> None:
        self._context = context
        self._configs = configs
        self._models = models
        self._fleet = fleet
        self._endpoints: dict[str, Endpoint] = {}
        self._deployments: set[Deployment] = set()
        self._closed = False

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        arn = self._context.arn("endpoint", name)
        policy = deployment_config.checked(request.get("DeploymentConfig"))
        with self._context.lock:
            if arn in self._endpoints:
                raise ValidationError(f'Cannot create already existing endpoint "{arn}".')
            config = self._configs.get(request["EndpointConfigName"])
            models = self._models_of(config)
            self._context.tags.put(arn, tags_of(request))
            moment = now()
            endpoint = Endpoint(name, arn, config, moment, moment, deployment_config=policy)
            self._endpoints[arn] = endpoint
            self._announce(endpoint)
        self._in_background(endpoint, lambda: self._create(endpoint, models))
        return {"EndpointArn": arn}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        policy = deployment_config.checked(request.get("DeploymentConfig"))
        with self._context.lock:
            endpoint = self._endpoint(request["EndpointName"])
            self._refuse_in_progress(endpoint)
            if endpoint.status != "InService":
                raise ValidationError(
                    f'Cannot update endpoint "{endpoint.arn}" in status {endpoint.status}: '
                    "DeleteEndpoint is the only operation that can be performed on a failed endpoint."
                )
            config = self._configs.get(request["EndpointConfigName"])
            models = self._models_of(config)
            if not request.get("RetainDeploymentConfig", False):
                endpoint.deployment_config = policy
            endpoint.failure_reason = None  # AWS keeps a reason only until the next update
            endpoint.pending, endpoint.pending_since = config, now()
            endpoint.enter("Updating")
            self._announce(endpoint)
            retained = _retained(endpoint, request)
        self._in_background(endpoint, lambda: self._update(endpoint, config, models, retained))
        return {"EndpointArn": endpoint.arn}

    def delete(self, request: dict[str, Any]) -> None:
        with self._context.lock:
            endpoint = self._endpoint(request["EndpointName"])
            self._refuse_in_progress(endpoint)
            endpoint.enter("Deleting")
            self._announce(endpoint)
        self._in_background(endpoint, lambda: self._delete(endpoint))

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            return self._endpoint(request["EndpointName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            summaries = [endpoint.summary() for endpoint in self._endpoints.values()]
        shown, token = listing.page(summaries, request, kind="Endpoint", default_order="Descending")
        return {"Endpoints": shown, "NextToken": token}

    def exists(self, arn: str) -> bool:
        return arn in self._endpoints

    def held(self, name: str) -> Deployment | None:
        """The deployment that serves the endpoint now, held for one request; None when nothing serves."""
        with self._context.lock:
            endpoint = self._endpoints.get(self._context.arn("endpoint", name))
            if endpoint is None or endpoint.serving is None or endpoint.status == "Deleting":
                return None
            endpoint.serving.hold()
            return endpoint.serving

    def close(self) -> None:
        """End every fleet at once, those just being started included."""
        with self._context.lock:
            self._closed = True
            deployments = list(self._deployments)
        threads = [threading.Thread(target=self._stop, args=(deployment, 0.0)) for deployment in deployments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _create(self, endpoint: Endpoint, models: dict[str, Model]) -> None:
        try:
            deployment = self._started(endpoint, endpoint.config, models, {})
        except _NotServing as failure:
            with self._context.lock:
                endpoint.failure_reason = failure.reason
                endpoint.enter("Failed")
                self._announce(endpoint)
            return
        with self._context.lock:
            endpoint.serving = deployment
            endpoint.enter("InService")
            self._announce(endpoint)

    def _update(
        self,
        endpoint: Endpoint,
        config: EndpointConfig,
        models: dict[str, Model],
        retained: dict[str, dict[str, Any]],
    ) -> None:
        try:
            deployment = self._started(endpoint, config, models, retained)
        except _NotServing as failure:
            self._roll_back(endpoint, failure.reason)
            return
        with self._context.lock:
            old = endpoint.serving
            endpoint.serving, endpoint.config = deployment, config
            endpoint.pending = endpoint.pending_since = None
            endpoint.enter("InService")
            self._announce(endpoint)
        if old:
            self._stop(old, INVOCATION_TIMEOUT)

    def _roll_back(self, endpoint: Endpoint, reason: str) -> None:
        """The old fleet has never stopped serving; only the record goes back."""
        with self._context.lock:
            endpoint.failure_reason = reason
            endpoint.enter("RollingBack")
            self._announce(endpoint)
            endpoint.pending = endpoint.pending_since = None
            endpoint.enter("InService")
            self._announce(endpoint)

    def _delete(self, endpoint: Endpoint) -> None:
        if endpoint.serving:
            self._stop(endpoint.serving, INVOCATION_TIMEOUT)
        with self._context.lock:
            del self._endpoints[endpoint.arn]
            self._context.tags.drop(endpoint.arn)

    def _started(
        self,
        endpoint: Endpoint,
        config: EndpointConfig,
        models: dict[str, Model],
        retained: dict[str, dict[str, Any]],
    ) -> Deployment:
        """A deployment that answers /ping; raises _NotServing, leaving nothing running, when it does not."""
        directory = self._context.directory / "endpoints" / f"{endpoint.name.lower()}-{uuid.uuid4().hex[:8]}"
        group = LOG_GROUP.format(endpoint.name)
        try:
            deployment = deploy(
                config,
                models,
                self._environments(endpoint, models),
                self._fleet,
                endpoint=endpoint.name,
                directory=directory,
                log=lambda stream, moment, line: self._context.host.log(group, stream, [(moment, line)]),
                retained=retained,
                moment=now(),
            )
        except Exception as error:
            raise _NotServing(error) from error
        with self._context.lock:
            if self._closed:
                raise _NotServing(FleetFailed("The local cloud is stopping."))
            self._deployments.add(deployment)
        try:
            deployment.start()
        except Exception as error:
            self._stop(deployment, 0.0)
            raise _NotServing(error) from error
        return deployment

    def _stop(self, deployment: Deployment, drain: float) -> None:
        deployment.stop(drain)
        with self._context.lock:
            self._deployments.discard(deployment)

    def _environments(self, endpoint: Endpoint, models: dict[str, Model]) -> dict[str, dict[str, str]]:
        environments = {}
        for role in {model.role for model in models.values()}:
            try:
                environments[role] = self._context.environment_of(role, f"SageMaker-{endpoint.name}")
            except ValidationError as error:
                raise FleetFailed(
                    f'The execution role ARN "{role}" is invalid. Please ensure that the role exists and '
                    'that its trust relationship policy allows the action "sts:AssumeRole" for the service '
                    'principal "sagemaker.amazonaws.com".'
                ) from error
        return environments

    def _models_of(self, config: EndpointConfig) -> dict[str, Model]:
        return {variant["VariantName"]: self._models.get(variant["ModelName"]) for variant in config.variants}

    def _endpoint(self, name: str) -> Endpoint:
        arn = self._context.arn("endpoint", name)
        if arn not in self._endpoints:
            raise ValidationError(f'Could not find endpoint "{arn}".')
        return self._endpoints[arn]

    def _refuse_in_progress(self, endpoint: Endpoint) -> None:
        if endpoint.status in IN_PROGRESS:
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')

    def _announce(self, endpoint: Endpoint) -> None:
        self._context.announcer.endpoint(endpoint.describe(), self._context.tags.mapping(endpoint.arn))

    def _in_background(self, endpoint: Endpoint, change: Callable[[], None]) -> None:
        threading.Thread(target=change, name=f"endpoint-{endpoint.name}", daemon=True).start()


class _NotServing(Exception):
    """A deployment did not come up."""

    def __init__(self, error: Exception) -> None:
        if isinstance(error, FleetFailed | ServiceError):
            self.reason = str(error)[:MAX_REASON]
        else:
            _log.error("a deployment failed", exc_info=error)
            self.reason = f"Internal error while starting the fleet: {error}"[:MAX_REASON]
        super().__init__(self.reason)


def _retained(endpoint: Endpoint, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By variant, what RetainAllVariantProperties keeps: the count and the weight there are, not the new
    ones.
    """
    if not request.get("RetainAllVariantProperties", False) or endpoint.serving is None:
        return {}
    excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}
    kept = {"DesiredInstanceCount", "DesiredWeight"} - excluded
    return {
        variant.name: {name: value for name, value in variant.summary().items() if name in kept}
        for variant in endpoint.serving.variants
    }


def _pending(variant: dict[str, Any]) -> dict[str, Any]:
    pending = {
        "VariantName": variant["VariantName"],
        "DesiredWeight": variant["InitialVariantWeight"],
        "DesiredInstanceCount": variant.get("InitialInstanceCount"),
        "InstanceType": variant.get("InstanceType"),
        "DesiredServerlessConfig": variant.get("ServerlessConfig"),
        "VariantStatus": [{"Status": "Creating"}],
    }
    return {name: value for name, value in pending.items() if value is not None}


def _data_capture(config: EndpointConfig) -> dict[str, Any] | None:
    """As configured; the local cloud captures nothing, and says so."""
    capture = config.request.get("DataCaptureConfig")
    if capture is None:
        return None
    return {
        "EnableCapture": capture.get("EnableCapture", False),
        "CaptureStatus": "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }
