"""Scaling policies: kept, described and deleted with their targets. None is ever carried out."""

import uuid
from typing import Any

from localcloud.application_autoscaling import variants as resources
from localcloud.application_autoscaling.errors import ObjectNotFoundError
from localcloud.application_autoscaling.records import ScalableTarget, ScalableTargets, ScalingPolicy
from localcloud.application_autoscaling.variants import NAMESPACE, VariantId, variant_id
from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.host import Host

MOST = 10  # policies a page, by the service model
GREATEST = 2.0**360  # of a TargetValue, either way, by the service model
TYPE = "TargetTrackingScaling"
METRICS = (
    "SageMakerVariantInvocationsPerInstance",
    "SageMakerVariantConcurrentRequestsPerModelHighResolution",
)
"""The predefined metrics of an endpoint's variant."""

_SPECIFICATIONS = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")


class PolicyOperations:
    """The operations on scaling policies."""

    def __init__(self, host: Host, targets: ScalableTargets) -> None:
        self._host = host
        self._targets = targets

    def put(self, request: dict[str, Any]) -> dict[str, Any]:
        """A policy of the same name is overwritten. AWS makes two alarms for each; here it has none."""
        variant = variant_id(request)
        with self._targets.lock:
            target = self._targets.get(variant)
            policy = target.policies.get(request["PolicyName"])
            configuration = _checked(request, policy)
            _refuse_second(target, request["PolicyName"], configuration)
            if policy is None:
                name = request["PolicyName"]
                policy = ScalingPolicy(name, self._arn(variant, name), configuration, now())
                target.policies[name] = policy
            policy.configuration = configuration
        return {"PolicyARN": policy.arn, "Alarms": []}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._targets.lock:
            described = [
                _described(target, policy)
                for target in self._targets.all()
                for policy in target.policies.values()
            ]
        wanted = [request["ResourceId"]] if "ResourceId" in request else None
        chosen = [
            policy
            for policy in resources.chosen(described, request, wanted)
            if policy["PolicyName"] in request.get("PolicyNames", [policy["PolicyName"]])
        ]
        shown, token = resources.page(chosen, request, name="PolicyARN", most=MOST)
        return {"ScalingPolicies": shown, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        variant = variant_id(request)
        with self._targets.lock:
            target = self._targets.find(variant)
            if target is None or request["PolicyName"] not in target.policies:
                raise ObjectNotFoundError(
                    f"No scaling policy found for {variant.sentence()}, policy name: {request['PolicyName']}"
                )
            del target.policies[request["PolicyName"]]

    def _arn(self, variant: VariantId, name: str) -> str:
        return (
            f"arn:aws:autoscaling:{self._host.region}:{self._host.account}:scalingPolicy:{uuid.uuid4()}:"
            f"resource/{NAMESPACE}/{variant.resource}:policyName/{name}"
        )


def _described(target: ScalableTarget, policy: ScalingPolicy) -> dict[str, Any]:
    return target.id.members() | {
        "PolicyARN": policy.arn,
        "PolicyName": policy.name,
        "PolicyType": TYPE,
        "TargetTrackingScalingPolicyConfiguration": policy.configuration,
        "Alarms": [],
        "CreationTime": policy.created,
    }


def _checked(request: dict[str, Any], policy: ScalingPolicy | None) -> dict[str, Any]:
    """The configuration the policy is to have; ValidationError when it is not one of target tracking."""
    if policy is None and "PolicyType" not in request:
        raise ValidationError("A new scaling policy needs a PolicyType.")
    kind = request.get("PolicyType", TYPE)
    if kind != TYPE:
        raise ValidationError(
            f"The local Application Auto Scaling keeps policies of PolicyType {TYPE} only, not {kind}."
        )
    configuration: dict[str, Any] | None = request.get("TargetTrackingScalingPolicyConfiguration")
    if configuration is None:
        raise ValidationError(f"A policy of {TYPE} needs a TargetTrackingScalingPolicyConfiguration.")
    if abs(configuration["TargetValue"]) > GREATEST:
        raise ValidationError("TargetValue must be between -2^360 and 2^360.")
    if sum(name in configuration for name in _SPECIFICATIONS) != 1:
        raise ValidationError(f"A policy of {TYPE} needs either a {' or a '.join(_SPECIFICATIONS)}.")
    predefined = configuration.get(_SPECIFICATIONS[0])
    if predefined and predefined["PredefinedMetricType"] not in METRICS:
        raise ValidationError(
            f"{predefined['PredefinedMetricType']} is no metric of a SageMaker variant; those are "
            f"{' and '.join(METRICS)}."
        )
    return configuration


def _refuse_second(target: ScalableTarget, name: str, configuration: dict[str, Any]) -> None:
    """Two policies must not pull at one metric."""
    for policy in target.policies.values():
        same = all(policy.configuration.get(part) == configuration.get(part) for part in _SPECIFICATIONS)
        if policy.name != name and same:
            raise ValidationError(
                "Only one TargetTrackingScaling policy for a given metric specification is allowed."
            )
