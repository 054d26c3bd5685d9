"""Endpoints: their status machine, and the operations on them.

    CreateEndpoint: Creating -> InService | Failed
    UpdateEndpoint: InService -> Updating -> InService           (with the new configuration)
                                 Updating -> RollingBack -> InService  (with the old one, and a FailureReason)
    DeleteEndpoint: InService | Failed -> Deleting -> gone

An update is blue/green: the new configuration's fleet starts beside the one that serves and, when it answers
/ping, takes over its requests in the steps that the DeploymentConfig asks for (rollout.py). The old one ends
when its last request is answered. If the new one does not come up, or a CloudWatch alarm of the
DeploymentConfig is in ALARM meanwhile, it is the new one that ends. Each change of an endpoint has a thread
of its own.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ServiceError, ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.hosting import update_plan as deployment_config
from localcloud.sagemaker.hosting.cloudwatch_metrics import InvocationMetrics
from localcloud.sagemaker.hosting.deployment import (
    INVOCATION_TIMEOUT,
    Deployment,
    FleetFactory,
    Size,
    deploy,
    sizes,
)
from localcloud.sagemaker.hosting.endpoint_configs import EndpointConfig, EndpointConfigs
from localcloud.sagemaker.hosting.models import Model, Models
from localcloud.sagemaker.hosting.records import Endpoint, Update
from localcloud.sagemaker.hosting.rollout import Abandoned, RolledBack, Rollout
from localcloud.sagemaker.processes.fleet import FleetFailed

LOG_GROUP = "/aws/sagemaker/Endpoints/{}"
IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
MAX_REASON = 1024  # characters of a FailureReason

_log = logging.getLogger(__name__)


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
        self._closing = threading.Event()
        self.metrics = InvocationMetrics(context.host)

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        arn = self._context.arn("endpoint", name)
        policy = deployment_config.checked(request.get("DeploymentConfig"))
        with self._context.lock:
            if arn in self._endpoints:
                raise ValidationError(f'Cannot create already existing endpoint "{arn}".')
            config = self._configs.get(request["EndpointConfigName"])
            _refuse_guardrails_without_instances(policy, config)
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
            if request.get("RetainDeploymentConfig", False):
                policy = endpoint.deployment_config
            _check_change(endpoint, config, policy)
            new = sizes(config, _retained(endpoint, request))
            shift = deployment_config.shift(policy, [size.instance_count for size in new.values()])
            endpoint.deployment_config = policy
            endpoint.failure_reason = None  # AWS keeps a reason only until the next update
            endpoint.update = update = Update(config, new, now())
            endpoint.enter("Updating")
            self._announce(endpoint)
            role = config.request.get("ExecutionRoleArn") or next(iter(models.values())).role
        rollout = Rollout(shift, self._context.host, role, self._closing)
        self._in_background(endpoint, lambda: self._update(endpoint, update, models, rollout))
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
        """The deployment the endpoint's next request is for, held for it; None when nothing serves."""
        with self._context.lock:
            endpoint = self._endpoints.get(self._context.arn("endpoint", name))
            deployment = endpoint.next_deployment() if endpoint else None
            if deployment:
                deployment.hold()
            return deployment

    def close(self) -> None:
        """End every fleet at once, those just being started included."""
        with self._context.lock:
            self._closing.set()
            deployments = list(self._deployments)
        threads = [threading.Thread(target=self._stop, args=(deployment, 0.0)) for deployment in deployments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.metrics.close()

    def _create(self, endpoint: Endpoint, models: dict[str, Model]) -> None:
        try:
            deployment = self._started(endpoint, endpoint.config, models, sizes(endpoint.config, {}))
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

    def _update(self, endpoint: Endpoint, update: Update, models: dict[str, Model], rollout: Rollout) -> None:
        def step(status: str, message: str, share: float) -> None:
            with self._context.lock:
                update.enter(status, message, share)
                self._announce_deployment(endpoint)

        step("Creating", "Launching", 0.0)
        try:
            deployment = self._started(endpoint, update.config, models, update.sizes)
        except _NotServing as failure:
            self._roll_back(endpoint, failure.reason)
            return
        with self._context.lock:
            update.deployment = deployment
        try:
            rollout.run(step)
        except Abandoned:
            return
        except RolledBack as reason:
            self._roll_back(endpoint, str(reason), deployment)
            return
        except Exception as error:
            self._roll_back(endpoint, _NotServing(error).reason, deployment)
            return
        with self._context.lock:
            old = endpoint.serving
            endpoint.serving, endpoint.config, endpoint.update = deployment, update.config, None
            endpoint.enter("InService")
            self._announce(endpoint)
        if old:
            self._stop(old, INVOCATION_TIMEOUT)

    def _roll_back(self, endpoint: Endpoint, reason: str, deployment: Deployment | None = None) -> None:
        """Send every request to the old fleet, which has never stopped serving, and end the new one."""
        with self._context.lock:
            endpoint.failure_reason = reason[:MAX_REASON]
            endpoint.enter("RollingBack")
            if endpoint.update:
                endpoint.update.deployment = None
                endpoint.update.enter("Deleting", "Terminating", 0.0)
            self._announce(endpoint)
            self._announce_deployment(endpoint)
        if deployment:
            self._stop(deployment, INVOCATION_TIMEOUT)
        with self._context.lock:
            endpoint.update = None
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
        sizes: Mapping[str, Size],
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
                sizes=sizes,
                endpoint=endpoint.name,
                directory=directory,
                log=lambda stream, moment, line: self._context.host.log(group, stream, [(moment, line)]),
                moment=now(),
            )
        except Exception as error:
            raise _NotServing(error) from error
        with self._context.lock:
            if self._closing.is_set():
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

    def _announce_deployment(self, endpoint: Endpoint) -> None:
        self._context.announcer.deployment(endpoint.describe(), self._context.tags.mapping(endpoint.arn))

    def _in_background(self, endpoint: Endpoint, change: Callable[[], None]) -> None:
        threading.Thread(target=change, name=f"endpoint-{endpoint.name}", daemon=True).start()


class _NotServing(Exception):
    """A deployment did not come up."""

    def __init__(self, error: Exception) -> None:
        if isinstance(error, FleetFailed | ServiceError):
            self.reason = str(error)[:MAX_REASON]
        else:
            _log.error("a deployment failed", exc_info=error)
            self.reason = f"Internal error while deploying: {error}"[:MAX_REASON]
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


def _check_change(endpoint: Endpoint, config: EndpointConfig, policy: dict[str, Any] | None) -> None:
    """What AWS says an update cannot change.

    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    """
    if config.serverless and not endpoint.config.serverless:
        raise ValidationError(
            f'Cannot update real-time endpoint "{endpoint.arn}" to serverless inference: the endpoint '
            f'configuration "{config.arn}" is serverless. Create a new endpoint for it.'
        )
    for each in (endpoint.config, config):
        _refuse_guardrails_without_instances(policy, each)
    old, new = ({variant["VariantName"] for variant in each.variants} for each in (endpoint.config, config))
    if policy and old != new:
        raise ValidationError(
            "With a DeploymentConfig, the new endpoint configuration must have the same variant names as the "
            f"old one: they are {', '.join(sorted(new))}, and were {', '.join(sorted(old))}."
        )
    if policy and "RollingUpdatePolicy" in policy and len(new) > 1:
        raise ValidationError("RollingUpdatePolicy is not supported for endpoints with several variants.")


def _refuse_guardrails_without_instances(policy: dict[str, Any] | None, config: EndpointConfig) -> None:
    if policy and config.serverless:
        raise ValidationError(
            "DeploymentConfig is not supported for serverless endpoints, and the endpoint configuration "
            f'"{config.arn}" is serverless: leave DeploymentConfig out.'
        )
