"""Scalable targets: the variants that may be scaled, and between which counts."""

import uuid
from collections.abc import Callable
from typing import Any

from localcloud.application_autoscaling import variants as resources
from localcloud.application_autoscaling.records import ScalableTarget, ScalableTargets
from localcloud.application_autoscaling.variants import VariantId, variant_id
from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.host import Host
from localcloud.sagemaker.hosting.scaling import ServedVariant

Variants = Callable[[str, str], ServedVariant | None]
"""What an endpoint serves as the variant, both by name; None when it serves none of that name."""

MOST = 50  # targets a page, by the service model
ROLE = (
    "arn:aws:iam::{}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
"""The service-linked role by which AWS scales variants, in the account that is filled in."""

_SUSPENDED = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}
_NOT_HERE = {
    "RoleARN": "Variants are scaled by a service-linked role: leave RoleARN out.",
    "Tags": "Tags on scalable targets are not available in the local cloud.",
}


class TargetOperations:
    """The operations on scalable targets."""

    def __init__(self, host: Host, targets: ScalableTargets, variants: Variants) -> None:
        self._host = host
        self._targets = targets
        self._variants = variants

    def register(self, request: dict[str, Any]) -> dict[str, Any]:
        """Register a variant, or change the limits of one that is registered: what is not said stays.

        AWS then brings the variant's count between the limits; here it stays what it is.
        """
        for member, sentence in _NOT_HERE.items():
            if member in request:
                raise ValidationError(sentence)
        variant = variant_id(request)
        instance_type = _scalable(variant, self.served(variant))
        with self._targets.lock:
            target = self._targets.find(variant)
            minimum, maximum = _limits(request, target)
            if target is None:
                target = ScalableTarget(variant, self.arn(variant), instance_type, minimum, maximum, now())
                self._targets.put(target)
            target.minimum, target.maximum = minimum, maximum
            target.suspended |= request.get("SuspendedState", {})
        return {"ScalableTargetARN": target.arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Other namespaces than SageMaker's have no targets."""
        with self._targets.lock:
            described = [self._described(target) for target in self._targets.all()]
        chosen = resources.chosen(described, request, request.get("ResourceIds"))
        shown, token = resources.page(chosen, request, name="ResourceId", most=MOST)
        return {"ScalableTargets": shown, "NextToken": token}

    def deregister(self, request: dict[str, Any]) -> None:
        """The target's policies go with it."""
        with self._targets.lock:
            self._targets.remove(self._targets.get(variant_id(request)))

    def served(self, variant: VariantId) -> ServedVariant:
        """The variant as its endpoint serves it; ValidationError when it serves none of that name."""
        served = self._variants(variant.endpoint, variant.variant)
        if served is None:
            raise ValidationError(
                f"No endpoint {variant.endpoint} serves a variant {variant.variant}: register a variant once "
                "its endpoint is InService."
            )
        return served

    def arn(self, variant: VariantId) -> str:
        """The ARN of the variant's target, whether it is registered or not."""
        unique = uuid.uuid5(uuid.NAMESPACE_URL, variant.resource).hex
        return (
            f"arn:aws:application-autoscaling:{self._host.region}:{self._host.account}:"
            f"scalable-target/{unique}"
        )

    def _described(self, target: ScalableTarget) -> dict[str, Any]:
        return target.id.members() | {
            "ScalableTargetARN": target.arn,
            "MinCapacity": target.minimum,
            "MaxCapacity": target.maximum,
            "RoleARN": ROLE.format(self._host.account),
            "CreationTime": target.created,
            "SuspendedState": _SUSPENDED | target.suspended,
        }


def _scalable(variant: VariantId, served: ServedVariant) -> str:
    """The type of the variant's instances; ValidationError when there are none or AWS does not scale them."""
    if served.instance_type is None:
        raise ValidationError(
            f"Variant {variant.variant} of endpoint {variant.endpoint} is serverless: it has no instances to "
            "scale."
        )
    if served.instance_type.startswith("ml.t"):
        raise ValidationError(
            f"You cannot register a variant with {served.instance_type} instance type as a scalable target. "
            "This is because the burstable performance of these instances can lead to unpredictable behavior "
            "with Auto Scaling."
        )
    return served.instance_type


def _limits(request: dict[str, Any], target: ScalableTarget | None) -> tuple[int, int]:
    """The least and the greatest count of instances that the target is to have."""
    minimum = request.get("MinCapacity", target.minimum if target else None)
    maximum = request.get("MaxCapacity", target.maximum if target else None)
    if minimum is None or maximum is None:
        raise ValidationError("A new scalable target needs both MinCapacity and MaxCapacity.")
    if minimum < 1:
        raise ValidationError(
            f"MinCapacity must be at least 1, not {minimum}: a real-time variant does not scale to zero."
        )
    if maximum < minimum:
        raise ValidationError("Maximum capacity cannot be less than minimum capacity")
    return minimum, maximum
