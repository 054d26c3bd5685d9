"""Target tracking: the endpoint's instances come and go with its traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import aws
import endpoint
from botocore.exceptions import ClientError
from contracts import Run
from errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling.type_defs import DeregisterScalableTargetRequestTypeDef

_DIMENSION: Literal["sagemaker:variant:DesiredInstanceCount"] = "sagemaker:variant:DesiredInstanceCount"
_POLICY = "invocations-per-instance"


def start(run: Run) -> None:
    """Keep each instance near the invocations a minute that the run asks for."""
    hosting = run.hosting
    autoscaling = aws.autoscaling()
    autoscaling.register_scalable_target(
        **_target(run.endpoint), MinCapacity=hosting.instance_count, MaxCapacity=hosting.max_instance_count
    )
    autoscaling.put_scaling_policy(
        **_target(run.endpoint),
        PolicyName=_POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(hosting.invocations_per_instance),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
        },
    )


def stop(name: str) -> None:
    """Scale the endpoint no more; nothing where it did not scale."""
    try:
        aws.autoscaling().deregister_scalable_target(**_target(name))
    except ClientError as error:
        if code_of(error) != "ObjectNotFoundException":
            raise


def _target(name: str) -> DeregisterScalableTargetRequestTypeDef:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{endpoint.VARIANT}",
        "ScalableDimension": _DIMENSION,
    }
