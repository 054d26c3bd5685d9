"""How an endpoint config becomes a deployment: the size of each variant, and one fleet for each."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.hosting.deployment import Deployment, Fleet, Size, Variant, startup
from localcloud.sagemaker.hosting.records import Endpoint, EndpointConfig, Model
from localcloud.sagemaker.processes.fleet import FleetFailed, FleetLaunch
from localcloud.sagemaker.processes.images import unfit

LOG_GROUP = "/aws/sagemaker/Endpoints/{}"

FleetFactory = Callable[[FleetLaunch], Fleet]


class Launcher:
    """Creates deployments."""

    def __init__(self, context: Context, fleet: FleetFactory) -> None:
        self._context = context
        self._fleet = fleet

    def create(
        self, endpoint: str, config: EndpointConfig, models: Mapping[str, Model], sizes: Mapping[str, Size]
    ) -> Deployment:
        """Return a deployment that is not started yet.

        Args:
            endpoint: The endpoint's name.
            config: The endpoint config.
            models: The model of each variant, by the variant's name.
            sizes: The size of each variant, by the variant's name.

        Raises:
            FleetFailed: SageMaker cannot assume a model's execution role, the role may not pull an image, or
                an image cannot start on its variant.
        """
        for variant in config.variants:
            model = models[variant["VariantName"]]
            if reason := unfit(model.container["Image"], variant):
                raise FleetFailed(reason)
            if not self._context.may_pull(model.role, model.container["Image"]):
                raise FleetFailed(
                    "Please ensure all images included in the model for the production variant "
                    f"{variant['VariantName']} exist, and that the execution role used to create the model "
                    "has permissions to access them."
                )
        environments = {role: self._environment(endpoint, role) for role in {m.role for m in models.values()}}
        directory = self._context.directory / "endpoints" / f"{endpoint.lower()}-{uuid.uuid4().hex[:8]}"
        group, moment = LOG_GROUP.format(endpoint), now()
        variants = []
        for variant in config.variants:
            name = variant["VariantName"]
            model, size = models[name], sizes[name]
            launch = FleetLaunch(
                endpoint_name=endpoint,
                variant_name=name,
                model_name=model.name,
                container=model.container,
                instance_count=size.instance_count,
                directory=directory / name,
                environment=environments[model.role],
                log=lambda stream, time, line: self._context.host.log(group, stream, [(time, line)]),
                serverless=variant.get("ServerlessConfig"),
                startup=startup(variant),
            )
            variants.append(Variant(variant, model.container["Image"], self._fleet(launch), size, moment))
        return Deployment(endpoint, config.name, variants, directory)

    def _environment(self, endpoint: str, role: str) -> dict[str, str]:
        try:
            return self._context.environment_of(role, f"SageMaker-{endpoint}")
        except ValidationError as error:
            raise FleetFailed(
                f'The execution role ARN "{role}" is invalid. Please ensure that the role exists and '
                'that its trust relationship policy allows the action "sts:AssumeRole" for the service '
                'principal "sagemaker.amazonaws.com".'
            ) from error


def sizes(
    config: EndpointConfig, endpoint: Endpoint | None = None, request: Mapping[str, Any] | None = None
) -> dict[str, Size]:
    """Return the size of each variant, by its name.

    Args:
        config: The endpoint config with the initial sizes.
        endpoint: The endpoint that is updated. UpdateEndpoint's RetainAllVariantProperties keeps the sizes
            that it has.
        request: The UpdateEndpoint request.
    """
    retained = _retained(endpoint, request or {}) if endpoint else {}
    found = {}
    for variant in config.variants:
        kept = retained.get(variant["VariantName"], {})
        found[variant["VariantName"]] = Size(
            weight=kept.get("DesiredWeight", variant["InitialVariantWeight"]),
            instance_count=kept.get("DesiredInstanceCount", variant.get("InitialInstanceCount", 1)),
        )
    return found


def _retained(endpoint: Endpoint, request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not request.get("RetainAllVariantProperties", False) or endpoint.serving is None:
        return {}
    excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}
    kept = {"DesiredInstanceCount", "DesiredWeight"} - excluded
    return {
        variant.name: {name: value for name, value in variant.summary().items() if name in kept}
        for variant in endpoint.serving.variants
    }
