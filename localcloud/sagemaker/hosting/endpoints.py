"""The operations on endpoints, and the changes they start.

    CreateEndpoint: Creating -> InService | Failed
    UpdateEndpoint: InService -> Updating -> InService                 (with the new config)
                                 Updating -> RollingBack -> InService  (with the old config and a reason)
    DeleteEndpoint: InService | Failed -> Deleting -> deleted

An update is blue/green. The new config's fleets start beside the serving ones. When they are ready, they take
over the requests in the steps of the DeploymentConfig (update_plan.py, rollout.py). The old fleets end after
their last request. The update is rolled back, and the new fleets end, if they do not become ready or if a
CloudWatch alarm of the DeploymentConfig goes into ALARM. Each change of an endpoint runs on its own thread.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.core import quotas
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.errors import ServiceError, ValidationError
from localcloud.sagemaker.core.resources import Resources
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.hosting import update_plan
from localcloud.sagemaker.hosting.checks import check_guardrails, check_update
from localcloud.sagemaker.hosting.cloudwatch_metrics import InvocationMetrics
from localcloud.sagemaker.hosting.deployment import Deployment, Size
from localcloud.sagemaker.hosting.endpoint_configs import EndpointConfigs
from localcloud.sagemaker.hosting.launch import FleetFactory, Launcher, sizes
from localcloud.sagemaker.hosting.models import Models
from localcloud.sagemaker.hosting.records import Endpoint, EndpointConfig, Model, Update
from localcloud.sagemaker.hosting.rollout import Abandoned, RolledBack, Rollout
from localcloud.sagemaker.processes.failure_reasons import LIMIT
from localcloud.sagemaker.processes.fleet import FleetFailed
from localcloud.sagemaker.processes.instance import INVOCATION_TIMEOUT

_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")

_log = logging.getLogger(__name__)


class Endpoints(Resources[Endpoint]):
    """The endpoints and the operations on them."""

    kind = "endpoint"
    missing = 'Could not find endpoint "{arn}".'

    def __init__(
        self, context: Context, configs: EndpointConfigs, models: Models, fleet: FleetFactory
    ) -> None:
        super().__init__(context)
        self._configs = configs
        self._models = models
        self._launcher = Launcher(context, fleet)
        self._deployments: set[Deployment] = set()
        self._closing = threading.Event()
        self.metrics = InvocationMetrics(context.host)

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateEndpoint."""
        name = request["EndpointName"]
        arn = self.arn(name)
        policy = request.get("DeploymentConfig")
        update_plan.check(policy)
        with self._context.lock:
            if arn in self._records:
                raise ValidationError(f'Cannot create already existing endpoint "{arn}".')
            config = self._configs.get(request["EndpointConfigName"])
            check_guardrails(policy, config)
            models = self._models_of(config)
            self._refuse_over_quota(config, sizes(config))
            self._context.tags.put(arn, tags_of(request))
            moment = now()
            endpoint = Endpoint(name, arn, config, moment, moment, deployment_config=policy)
            self._records[arn] = endpoint
            self._announce(endpoint)
        self._in_background(endpoint, lambda: self._create(endpoint, models))
        return {"EndpointArn": arn}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle UpdateEndpoint."""
        policy = request.get("DeploymentConfig")
        update_plan.check(policy)
        with self._context.lock:
            endpoint = self.get(request["EndpointName"])
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
            check_update(endpoint.arn, endpoint.config, config, policy)
            new = sizes(config, endpoint, request)
            plan = update_plan.plan(policy, [size.instance_count for size in new.values()])
            self._refuse_over_quota(config, new)
            endpoint.deployment_config = policy
            endpoint.failure_reason = None  # AWS keeps a reason only until the next update
            endpoint.update = update = Update(config, new, now())
            endpoint.enter("Updating")
            self._announce(endpoint)
            role = config.request.get("ExecutionRoleArn") or next(iter(models.values())).role
        rollout = Rollout(plan, self._context.host, role, self._closing)
        self._in_background(endpoint, lambda: self._update(endpoint, update, models, rollout))
        return {"EndpointArn": endpoint.arn}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteEndpoint."""
        with self._context.lock:
            endpoint = self.get(request["EndpointName"])
            self._refuse_in_progress(endpoint)
            endpoint.enter("Deleting")
            self._announce(endpoint)
        self._in_background(endpoint, lambda: self._delete(endpoint))

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeEndpoint."""
        with self._context.lock:
            return self.get(request["EndpointName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListEndpoints."""
        page, token = listing.page(self._summaries(), request, kind="Endpoint", default_order="Descending")
        return {"Endpoints": page, "NextToken": token}

    def hold_next(self, name: str) -> Deployment | None:
        """Hold and return the deployment that receives the endpoint's next request; None if none serves."""
        with self._context.lock:
            endpoint = self._records.get(self.arn(name))
            deployment = endpoint.next_deployment() if endpoint else None
            if deployment:
                deployment.hold()
            return deployment

    def close(self) -> None:
        """End every fleet immediately, including those that are still starting."""
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
            deployment = self._start(endpoint, endpoint.config, models, sizes(endpoint.config))
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
        deployment: Deployment | None = None
        try:
            deployment = self._start(endpoint, update.config, models, update.sizes)
            with self._context.lock:
                update.deployment = deployment
            rollout.run(step)
        except Abandoned:
            return
        except (_NotServing, RolledBack) as reason:
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

    def _roll_back(self, endpoint: Endpoint, reason: str, deployment: Deployment | None) -> None:
        """Send every request to the old fleets, which have kept serving, and end the new ones."""
        with self._context.lock:
            endpoint.failure_reason = reason[:LIMIT]
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
        self._drop(endpoint.arn)

    def _start(
        self,
        endpoint: Endpoint,
        config: EndpointConfig,
        models: dict[str, Model],
        sizes: Mapping[str, Size],
    ) -> Deployment:
        """Return a deployment that is ready; raise _NotServing, with nothing left running, if it fails."""
        try:
            deployment = self._launcher.create(endpoint.name, config, models, sizes)
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

    def _models_of(self, config: EndpointConfig) -> dict[str, Model]:
        return {variant["VariantName"]: self._models.get(variant["ModelName"]) for variant in config.variants}

    def _refuse_in_progress(self, endpoint: Endpoint) -> None:
        if endpoint.status in _IN_PROGRESS:
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')

    def _refuse_over_quota(self, config: EndpointConfig, new: Mapping[str, Size]) -> None:
        used: quotas.Needs = Counter()
        for endpoint in self._records.values():
            if endpoint.status == "Failed":
                continue
            serving = endpoint.serving
            present = {each.name: each.size for each in serving.variants} if serving else None
            used += _needs(endpoint.config, present or sizes(endpoint.config))
            if endpoint.update:
                used += _needs(endpoint.update.config, endpoint.update.sizes)
        self._context.quotas.check(_needs(config, new), used)

    def _announce(self, endpoint: Endpoint) -> None:
        self._context.announcer.endpoint(endpoint.describe(), self._context.tags.mapping(endpoint.arn))

    def _announce_deployment(self, endpoint: Endpoint) -> None:
        self._context.announcer.deployment(endpoint.describe(), self._context.tags.mapping(endpoint.arn))

    def _in_background(self, endpoint: Endpoint, change: Callable[[], None]) -> None:
        threading.Thread(target=change, name=f"endpoint-{endpoint.name}", daemon=True).start()


def _needs(config: EndpointConfig, sizes: Mapping[str, Size]) -> quotas.Needs:
    return quotas.of_variants(config.variants, {name: size.instance_count for name, size in sizes.items()})


class _NotServing(Exception):
    """A deployment did not become ready; `reason` is the endpoint's FailureReason."""

    def __init__(self, error: Exception) -> None:
        if isinstance(error, FleetFailed | ServiceError):
            self.reason = str(error)[:LIMIT]
        else:
            _log.error("A deployment failed", exc_info=error)
            self.reason = f"Internal error while deploying: {error}"[:LIMIT]
        super().__init__(self.reason)
