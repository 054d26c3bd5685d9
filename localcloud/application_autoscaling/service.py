"""The local Application Auto Scaling: scalable targets and policies, as far as a client can see them.

It supports SageMaker's endpoint variants (the dimension sagemaker:variant:DesiredInstanceCount) and target
tracking policies. As on AWS, it checks, stores and describes both, but it scales nothing: more instances on
one machine would share the same processors. So it creates no alarms and never changes a variant's instances.

IAM authorizes operations on the target's ARN, or on "*" where AWS does not authorize by resource. As on AWS,
the caller of RegisterScalableTarget must also be allowed to do what scaling will do; a missing permission is
a ValidationException that names it.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsapplicationautoscaling.html
https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from localcloud.application_autoscaling.records import ScalableTargets
from localcloud.application_autoscaling.scalable_targets import ScalableTargetOperations, Variants
from localcloud.application_autoscaling.scaling_policies import ScalingPolicyOperations
from localcloud.application_autoscaling.variants import variant_id
from localcloud.sagemaker.api.access import Caller
from localcloud.sagemaker.api.protocol import JsonApi, Operation, Request, Response, anything
from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.core.host import Host

SERVICE = "application-autoscaling"
TARGET = "AnyScaleFrontendService"

_ALARMS = ("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms")


class ApplicationAutoScaling:
    """One account's Application Auto Scaling in one region."""

    def __init__(self, host: Host, targets: ScalableTargets, variants: Variants) -> None:
        """Create the service.

        Args:
            host: The cloud around the service.
            targets: The scalable targets, which SageMaker reads, too.
            variants: Returns the variants that SageMaker's endpoints serve.
        """
        self._host = host
        self._targets = ScalableTargetOperations(host, targets, variants)
        self._policies = ScalingPolicyOperations(host, targets)
        self._api = JsonApi(host, SERVICE, "Application Auto Scaling", TARGET, self._table())

    async def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, Any],
    ) -> Response:
        """Handle one HTTP request; return status, headers and body. Nothing waits, so no thread is needed."""
        return self._api.call(Request(method, path, headers, body, query))

    def _table(self) -> dict[str, Operation]:
        """Return every operation by its name."""
        targets, policies = self._targets, self._policies
        return {
            "RegisterScalableTarget": Operation(targets.register, self._target, also=self._authorize_scaling),
            "DescribeScalableTargets": Operation(targets.describe, anything),
            "DeregisterScalableTarget": Operation(targets.deregister, self._target),
            "PutScalingPolicy": Operation(policies.put, self._target),
            "DescribeScalingPolicies": Operation(policies.describe, anything),
            "DeleteScalingPolicy": Operation(policies.delete, self._target),
        }

    def _target(self, request: dict[str, Any]) -> list[str]:
        return [self._targets.arn(variant_id(request))]

    def _authorize_scaling(self, caller: Caller, request: dict[str, Any]) -> None:
        """Check that the caller may do what scaling does, as AWS does with the caller's credentials."""
        variant = variant_id(request)
        arn = f"arn:aws:sagemaker:{self._host.region}:{self._host.account}:"
        endpoint = f"{arn}endpoint/{variant.endpoint.lower()}"
        scaling = replace(caller, denied=ValidationError)
        scaling.authorize("sagemaker:DescribeEndpoint", endpoint)
        config = self._targets.served(variant).endpoint_config
        scaling.authorize("sagemaker:DescribeEndpointConfig", f"{arn}endpoint-config/{config.lower()}")
        scaling.authorize("sagemaker:UpdateEndpointWeightsAndCapacities", endpoint)
        for action in _ALARMS:
            scaling.authorize(action, "*")
