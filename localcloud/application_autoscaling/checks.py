"""Checks of requests that botocore's service model does not express."""

from typing import Any

from localcloud.application_autoscaling.records import ScalableTarget, ScalingPolicy
from localcloud.application_autoscaling.variants import VariantId
from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.hosting.scaling import ServedVariant

POLICY_TYPE = "TargetTrackingScaling"
_HIGHEST_TARGET_VALUE = 2.0**360
"""The limit of a TargetValue in both directions, by the service model."""
_METRICS = (
    "SageMakerVariantInvocationsPerInstance",
    "SageMakerVariantConcurrentRequestsPerModelHighResolution",
)
"""The predefined metrics of an endpoint's variant."""
_SPECIFICATIONS = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
_UNAVAILABLE = {
    "RoleARN": "Variants are scaled by a service-linked role: leave RoleARN out.",
    "Tags": "Tags on scalable targets are not available in the local cloud.",
}


def check_target(request: dict[str, Any]) -> None:
    """Raise ValidationError if the local cloud does not support a member of RegisterScalableTarget."""
    for member, sentence in _UNAVAILABLE.items():
        if member in request:
            raise ValidationError(sentence)


def instance_type(variant: VariantId, served: ServedVariant) -> str:
    """Return the variant's instance type; raise ValidationError if AWS does not scale it."""
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


def limits(request: dict[str, Any], target: ScalableTarget | None) -> tuple[int, int]:
    """Return the lowest and highest number of instances; raise ValidationError if they are invalid."""
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


def configuration(
    request: dict[str, Any], target: ScalableTarget, policy: ScalingPolicy | None
) -> dict[str, Any]:
    """Return the target tracking configuration of a PutScalingPolicy request.

    Args:
        request: The request.
        target: The target of the policy.
        policy: The policy that the request overwrites, or None.

    Raises:
        ValidationError: The configuration is invalid, or another policy has the same metric.
    """
    if policy is None and "PolicyType" not in request:
        raise ValidationError("A new scaling policy needs a PolicyType.")
    kind = request.get("PolicyType", POLICY_TYPE)
    if kind != POLICY_TYPE:
        raise ValidationError(
            f"The local Application Auto Scaling keeps policies of PolicyType {POLICY_TYPE} only, not {kind}."
        )
    wanted: dict[str, Any] | None = request.get("TargetTrackingScalingPolicyConfiguration")
    if wanted is None:
        raise ValidationError(f"A policy of {POLICY_TYPE} needs a TargetTrackingScalingPolicyConfiguration.")
    if abs(wanted["TargetValue"]) > _HIGHEST_TARGET_VALUE:
        raise ValidationError("TargetValue must be between -2^360 and 2^360.")
    if sum(name in wanted for name in _SPECIFICATIONS) != 1:
        raise ValidationError(f"A policy of {POLICY_TYPE} needs either a {' or a '.join(_SPECIFICATIONS)}.")
    predefined = wanted.get(_SPECIFICATIONS[0])
    if predefined and predefined["PredefinedMetricType"] not in _METRICS:
        raise ValidationError(
            f"{predefined['PredefinedMetricType']} is no metric of a SageMaker variant; those are "
            f"{' and '.join(_METRICS)}."
        )
    for other in target.policies.values():
        same = all(other.configuration.get(part) == wanted.get(part) for part in _SPECIFICATIONS)
        if other.name != request["PolicyName"] and same:
            raise ValidationError(
                "Only one TargetTrackingScaling policy for a given metric specification is allowed."
            )
    return wanted
