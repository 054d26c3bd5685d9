"""The links between endpoints and Application Auto Scaling.

A variant that is a scalable target keeps its instance type, and its target is deregistered with its endpoint:
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-delete-with-scaling.html
"""

from dataclasses import dataclass
from typing import Any, Protocol

from localcloud.sagemaker.api.access import Caller
from localcloud.sagemaker.core.errors import AccessDeniedError, ValidationError
from localcloud.sagemaker.hosting.endpoint_configs import EndpointConfigs
from localcloud.sagemaker.hosting.endpoints import Endpoints


@dataclass(frozen=True)
class ServedVariant:
    """A production variant that an endpoint serves.

    endpoint_config: the name of the endpoint config.
    instance_type: None if the variant is serverless.
    """

    endpoint_config: str
    instance_type: str | None


class Targets(Protocol):
    """The scalable targets of an endpoint, which is given by its name."""

    def arns(self, endpoint: str) -> list[str]:
        """Return the ARN of every target."""

    def instance_types(self, endpoint: str) -> dict[str, str]:
        """Return the instance type of every target, by the variant's name."""

    def deregister(self, endpoint: str) -> None:
        """Delete every target and its policies."""


class ScaledEndpoints:
    """The operations on endpoints that scalable targets affect."""

    def __init__(self, endpoints: Endpoints, configs: EndpointConfigs, targets: Targets) -> None:
        self._endpoints = endpoints
        self._configs = configs
        self._targets = targets

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle UpdateEndpoint; refuse to remove a target or to change its instance type."""
        registered = self._targets.instance_types(request["EndpointName"])
        if registered:
            variants = self._configs.get(request["EndpointConfigName"]).variants
            planned = {variant["VariantName"]: variant.get("InstanceType") for variant in variants}
            changed = [name for name, kind in registered.items() if planned.get(name) != kind]
            if changed:
                raise ValidationError(
                    f'The variant(s) "[{", ".join(changed)}]" must be deregistered as scalable targets with '
                    "AWS Auto Scaling before they can be removed or have their instance type updated."
                )
        return self._endpoints.update(request)

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteEndpoint; deregister the endpoint's targets, too."""
        self._endpoints.delete(request)
        self._targets.deregister(request["EndpointName"])

    def authorize_delete(self, caller: Caller, request: dict[str, Any]) -> None:
        """Raise ValidationError unless the caller may deregister the endpoint's targets."""
        for arn in self._targets.arns(request["EndpointName"]):
            try:
                caller.authorize("application-autoscaling:DeregisterScalableTarget", arn)
            except AccessDeniedError as error:
                raise ValidationError(
                    "An Application AutoScaling scalable target exists for a variant being deleted, and the "
                    "IAM identity used to invoke DeleteEndpoint does not have "
                    "application-autoscaling:DeregisterScalableTarget permission to deregister the scalable "
                    "target."
                ) from error

    def served(self, endpoint: str, variant: str) -> ServedVariant | None:
        """Return the variant that the endpoint serves under this name, or None."""
        try:
            described = self._endpoints.describe({"EndpointName": endpoint})
            config = self._configs.get(described["EndpointConfigName"])
        except ValidationError:
            return None
        served = {serving["VariantName"] for serving in described.get("ProductionVariants", [])}
        configured = {item["VariantName"]: item for item in config.variants if item["VariantName"] in served}
        if described["EndpointStatus"] == "Deleting" or variant not in configured:
            return None
        return ServedVariant(config.name, configured[variant].get("InstanceType"))
