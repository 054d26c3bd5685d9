"""scaling: the fleet follows its traffic between two bounds, and a config tells which."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from contracts.request import HostingResources
from serving import scaling
from serving.scaling import Scale

TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/lexline/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


def test_a_fleet_scales_by_the_invocations_of_each_instance(stubbed: Any) -> None:
    service = "application-autoscaling"
    stubbed.answers(service, "register_scalable_target", {}, **TARGET, MinCapacity=2, MaxCapacity=6)
    stubbed.answers(
        service,
        "put_scaling_policy",
        {"PolicyARN": "arn"},
        **TARGET,
        PolicyName="invocations-per-instance",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 300.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
        },
    )
    scaling.start("lexline", Scale(2, 6, 300))


def test_a_fleet_that_does_not_scale_stops_without_a_word(stubbed: Any) -> None:
    operation = ("application-autoscaling", "deregister_scalable_target")
    stubbed.answers(*operation, {}, **TARGET)
    scaling.stop("lexline")
    stubbed.refuses(*operation, "ObjectNotFoundException", "No scalable target found", **TARGET)
    scaling.stop("lexline")


def test_another_refusal_is_passed_on(stubbed: Any) -> None:
    operation = ("application-autoscaling", "deregister_scalable_target")
    stubbed.refuses(*operation, "ConcurrentUpdateException", "Try again.", 500)
    with pytest.raises(ClientError, match="Try again"):
        scaling.stop("lexline")


@pytest.mark.parametrize(
    ("hosting", "scale"),
    [
        ({"instance_count": 2, "max_instance_count": 6, "invocations_per_instance": 90}, Scale(2, 6, 90)),
        ({"instance_count": 2, "max_instance_count": 0}, None),
        ({"instance_count": 2, "max_instance_count": 2}, None),
        ({"instance_count": 2, "max_instance_count": 6, "endpoint_type": "serverless"}, None),
    ],
)
def test_only_a_real_time_fleet_with_room_scales(hosting: Any, scale: Scale | None) -> None:
    assert Scale.of(HostingResources(**hosting)) == scale


@pytest.mark.parametrize("instance_type", ["ml.t2.medium", "ml.t3.large", "ml.t4g.large"])
def test_a_fleet_that_could_not_scale_is_refused_with_the_input(instance_type: str) -> None:
    """Application Auto Scaling takes no burstable instances, and says so only when the model serves."""
    with pytest.raises(ValidationError, match=f"instance_type {instance_type} is burstable"):
        HostingResources(instance_type=instance_type, max_instance_count=2)
    HostingResources(instance_type=instance_type)
    HostingResources(instance_type=instance_type, max_instance_count=2, endpoint_type="serverless")
    HostingResources(instance_type="ml.trn1.2xlarge", max_instance_count=2)


def test_a_scale_survives_the_way_through_a_tag() -> None:
    scale = Scale(1, 1000, 1_000_000)
    assert Scale.read(scale.tag) == scale
    # AddTags' reference: letters, spaces, digits and these.
    assert re.fullmatch(r"[\w .:/=+\-@]{1,256}", scale.tag)


@pytest.mark.parametrize("tag", ["", "2-6", "2-6@", "two-six@300", "2-6@300 "])
def test_a_tag_that_tells_no_scale_is_none(tag: str) -> None:
    assert Scale.read(tag) is None
