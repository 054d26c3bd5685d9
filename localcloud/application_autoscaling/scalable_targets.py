"""The operations on scalable targets: which variants may be scaled, and between which numbers."""

import uuid
from collections.abc import Callable
from typing import Any

from localcloud.application_autoscaling import checks, variants
from localcloud.application_autoscaling.records import ScalableTarget, ScalableTargets
from localcloud.application_autoscaling.variants import VariantId, variant_id
from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.core.host import Host
from localcloud.sagemaker.hosting.scaling import ServedVariant

Variants = Callable[[str, str], ServedVariant | None]
"""Returns the variant that an endpoint serves, by the names of both, or None."""

ROLE = (
    "arn:aws:iam::{}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
"""The service-linked role with which AWS scales variants, for the account to fill in."""

_PAGE = 50
"""Targets on a page, by the service model."""
_SUSPENDED = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}


class ScalableTargetOperations:
    """The operations on scalable targets."""

    def __init__(self, host: Host, targets: ScalableTargets, variants: Variants) -> None:
        self._host = host
        self._targets = targets
        self._variants = variants

    def register(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle RegisterScalableTarget; members that are left out keep their values.

        AWS then moves the variant's number of instances between the limits. Here it stays as it is.
        """
        checks.check_target(request)
        variant = variant_id(request)
        instance_type = checks.instance_type(variant, self.served(variant))
        with self._targets.lock:
            target = self._targets.find(variant)
            minimum, maximum = checks.limits(request, target)
            if target is None:
                target = ScalableTarget(variant, self.arn(variant), instance_type, minimum, maximum, now())
                self._targets.put(target)
            target.minimum, target.maximum = minimum, maximum
            target.suspended |= request.get("SuspendedState", {})
        return {"ScalableTargetARN": target.arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeScalableTargets. Only SageMaker's namespace has targets."""
        with self._targets.lock:
            described = [self._described(target) for target in self._targets.all()]
        matching = variants.matching(described, request, request.get("ResourceIds"))
        page, token = variants.page(matching, request, name="ResourceId", most=_PAGE)
        return {"ScalableTargets": page, "NextToken": token}

    def deregister(self, request: dict[str, Any]) -> None:
        """Handle DeregisterScalableTarget; delete the target's policies, too."""
        with self._targets.lock:
            self._targets.remove(self._targets.get(variant_id(request)))

    def served(self, variant: VariantId) -> ServedVariant:
        """Return the variant that the endpoint serves; raise ValidationError if it serves none."""
        served = self._variants(variant.endpoint, variant.variant)
        if served is None:
            raise ValidationError(
                f"No endpoint {variant.endpoint} serves a variant {variant.variant}: register a variant once "
                "its endpoint is InService."
            )
        return served

    def arn(self, variant: VariantId) -> str:
        """Return the ARN of the variant's target, which need not exist."""
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
