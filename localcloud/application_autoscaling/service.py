"""The local Application Auto Scaling: targets and policies as far as a client can see them.

It has SageMaker's endpoint variants (the dimension sagemaker:variant:DesiredInstanceCount) and policies of
target tracking. Both are checked, kept and described as on AWS, but nothing scales: more instances on one
machine would share the same processors. So no alarm is made, and a variant's count stays what it is.

Who may do what is asked of IAM on the target's ARN, and on "*" for what AWS does not authorise by resource.
As on AWS, whoever registers a target must also be allowed what its scaling will do: a missing permission is
then a ValidationException that names it.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsapplicationautoscaling.html
https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from localcloud.application_autoscaling.records import ScalableTargets
from localcloud.application_autoscaling.scalable_targets import TargetOperations, Variants
from localcloud.application_autoscaling.scaling_policies import PolicyOperations
from localcloud.application_autoscaling.variants import variant_id
from localcloud.sagemaker.api.access import Caller
from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.api.protocol import JsonApi, Operation, Request, Response, anything
from localcloud.sagemaker.host import Host

SERVICE = "application-autoscaling"
TARGET = "AnyScaleFrontendService"

_ALARMS = ("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms")


class ApplicationAutoScaling:
    """One account's Application Auto Scaling in one region.

    `targets` is shared with SageMaker, which heeds them; `variants` says what its endpoints serve.
    """

    def __init__(self, host: Host, targets: ScalableTargets, variants: Variants) -> None:
        self._host = host
        self._targets = TargetOperations(host, targets, variants)
        self._policies = PolicyOperations(host, targets)
        self._api = JsonApi(host, SERVICE, "Application Auto Scaling", TARGET, self._table())

    async def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, Any],
    ) -> Response:
        """Answer one HTTP request: (status, headers, body). Nothing here waits, so it needs no thread."""
        return self._api.call(Request(method, path, headers, body, query))

    def _table(self) -> dict[str, Operation]:
        """Every operation there is."""
        targets, policies = self._targets, self._policies
        return {
            "RegisterScalableTarget": Operation(targets.register, self._target, also=self._may_scale),
            "DescribeScalableTargets": Operation(targets.describe, anything),
            "DeregisterScalableTarget": Operation(targets.deregister, self._target),
            "PutScalingPolicy": Operation(policies.put, self._target),
            "DescribeScalingPolicies": Operation(policies.describe, anything),
            "DeleteScalingPolicy": Operation(policies.delete, self._target),
        }

    def _target(self, request: dict[str, Any]) -> list[str]:
        return [self._targets.arn(variant_id(request))]

    def _may_scale(self, caller: Caller, request: dict[str, Any]) -> None:
        """AWS tries each of these calls with the caller's credentials; those to CloudWatch name no alarm."""
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
