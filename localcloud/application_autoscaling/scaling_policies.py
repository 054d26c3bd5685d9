"""The operations on scaling policies. Policies are stored and described; nothing carries them out."""

import uuid
from typing import Any

from localcloud.application_autoscaling import checks, variants
from localcloud.application_autoscaling.errors import ObjectNotFoundError
from localcloud.application_autoscaling.records import ScalableTarget, ScalableTargets, ScalingPolicy
from localcloud.application_autoscaling.variants import NAMESPACE, VariantId, variant_id
from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.core.host import Host

_PAGE = 10
"""Policies on a page, by the service model."""


class ScalingPolicyOperations:
    """The operations on scaling policies."""

    def __init__(self, host: Host, targets: ScalableTargets) -> None:
        self._host = host
        self._targets = targets

    def put(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle PutScalingPolicy. AWS creates two alarms for each policy; the local cloud creates none."""
        variant, name = variant_id(request), request["PolicyName"]
        with self._targets.lock:
            target = self._targets.get(variant)
            policy = target.policies.get(name)
            configuration = checks.configuration(request, target, policy)
            if policy is None:
                policy = ScalingPolicy(name, self._arn(variant, name), configuration, now())
                target.policies[name] = policy
            policy.configuration = configuration
        return {"PolicyARN": policy.arn, "Alarms": []}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeScalingPolicies."""
        with self._targets.lock:
            described = [
                _described(target, policy)
                for target in self._targets.all()
                for policy in target.policies.values()
            ]
        wanted = [request["ResourceId"]] if "ResourceId" in request else None
        matching = [
            policy
            for policy in variants.matching(described, request, wanted)
            if policy["PolicyName"] in request.get("PolicyNames", [policy["PolicyName"]])
        ]
        page, token = variants.page(matching, request, name="PolicyARN", most=_PAGE)
        return {"ScalingPolicies": page, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteScalingPolicy."""
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
        "PolicyType": checks.POLICY_TYPE,
        "TargetTrackingScalingPolicyConfiguration": policy.configuration,
        "Alarms": [],
        "CreationTime": policy.created,
    }
