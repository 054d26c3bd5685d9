"""Automatic scaling: target tracking adds and removes the endpoint's instances with its traffic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.request import HostingResources
from core import aws
from core.errors import code_of
from serving import endpoint

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling.type_defs import DeregisterScalableTargetRequestTypeDef

_POLICY = "invocations-per-instance"


@dataclass(frozen=True)
class Scale:
    """From `least` to `most` instances, each with about `invocations` requests a minute."""

    least: int
    most: int
    invocations: int

    @classmethod
    def of(cls, hosting: HostingResources) -> Scale | None:
        """Return the scaling that a run asks for, or None if its instances do not scale."""
        if not hosting.scales:
            return None
        return cls(hosting.instance_count, hosting.max_instance_count, hosting.invocations_per_instance)

    @classmethod
    def read(cls, tag: str) -> Scale | None:
        """Return the scaling in an endpoint config's tag, or None if the tag is no such text."""
        found = re.fullmatch(r"(\d+)-(\d+)@(\d+)", tag)
        return cls(*map(int, found.groups())) if found else None

    @property
    def tag(self) -> str:
        """The text of the tag that `read` reads."""
        return f"{self.least}-{self.most}@{self.invocations}"


def start(name: str, scale: Scale) -> None:
    """Let the endpoint's instances scale, in place of any scaling it had."""
    autoscaling = aws.autoscaling()
    autoscaling.register_scalable_target(**_target(name), MinCapacity=scale.least, MaxCapacity=scale.most)
    autoscaling.put_scaling_policy(
        **_target(name),
        PolicyName=_POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(scale.invocations),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
        },
    )


def stop(name: str) -> None:
    """Stop scaling the endpoint; do nothing if it does not scale."""
    with aws.allowing(lambda error: code_of(error) == "ObjectNotFoundException"):
        aws.autoscaling().deregister_scalable_target(**_target(name))


def _target(name: str) -> DeregisterScalableTargetRequestTypeDef:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{endpoint.VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
