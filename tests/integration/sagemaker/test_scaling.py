"""Application Auto Scaling through boto3 against the running local cloud, on an endpoint that serves."""

import uuid
from collections.abc import Iterator

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud.control import LocalCloud
from tests.integration.lab import Lab
from tests.integration.sagemaker.conftest import Client, Sagemaker

LIMITS = {"MinCapacity": 1, "MaxCapacity": 2}
TRACKING = {
    "PolicyName": "invocations",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 100.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    },
}


@pytest.fixture
def endpoint(sagemaker: Sagemaker) -> Iterator[str]:
    """An endpoint in service; deleted at the end, unless the test has deleted it."""
    name = f"scaled-{uuid.uuid4().hex[:8]}"
    sagemaker.endpoint(name, sagemaker.config(name))
    yield name
    if sagemaker.api.list_endpoints(NameContains=name)["Endpoints"]:
        sagemaker.delete(name)


def target(endpoint: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def test_an_unsigned_request_is_refused(cloud: LocalCloud) -> None:
    client = boto3.client(
        "application-autoscaling",
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.region,
        config=Config(signature_version=UNSIGNED),
    )
    with pytest.raises(ClientError) as refused:
        client.describe_scalable_targets(ServiceNamespace="sagemaker")
    assert refused.value.response["Error"]["Code"].startswith("MissingAuthenticationToken")


def test_iam_decides_who_may_register(client: Client, lab: Lab, sagemaker: Sagemaker, endpoint: str) -> None:
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{endpoint}"
    targets = "arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/*"
    own = {
        "Effect": "Allow",
        "Action": "application-autoscaling:*",
        "Resource": targets,
        "Condition": {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}},
    }
    others = own | {"Condition": {"StringEquals": {"application-autoscaling:service-namespace": "ecs"}}}
    reading = {"Effect": "Allow", "Action": "sagemaker:Describe*", "Resource": "*"}
    scaling = {"Effect": "Allow", "Action": "sagemaker:UpdateEndpointWeightsAndCapacities", "Resource": arn}
    alarms = {
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"],
        "Resource": "*",
    }
    service = "application-autoscaling"
    with pytest.raises(ClientError, match="application-autoscaling:RegisterScalableTarget") as caught:
        lab.client_as(service, others, reading, scaling, alarms).register_scalable_target(
            **target(endpoint), **LIMITS
        )
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    with pytest.raises(ClientError, match=f"UpdateEndpointWeightsAndCapacities on.*{arn}") as caught:
        lab.client_as(service, own, reading, alarms).register_scalable_target(**target(endpoint), **LIMITS)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    allowed = lab.client_as(service, own, reading, scaling, alarms)
    allowed.register_scalable_target(**target(endpoint), **LIMITS)
    allowed.deregister_scalable_target(**target(endpoint))


def test_a_variant_is_scaled_until_its_endpoint_goes(
    client: Client, sagemaker: Sagemaker, endpoint: str
) -> None:
    scaling = client("application-autoscaling")
    scaling.register_scalable_target(**target(endpoint), **LIMITS)
    scaling.put_scaling_policy(**target(endpoint), **TRACKING)
    (policy,) = scaling.describe_scaling_policies(**target(endpoint))["ScalingPolicies"]
    assert policy.items() >= (target(endpoint) | TRACKING).items()
    assert sagemaker.invoke(endpoint)["model"] == endpoint
    sagemaker.delete(endpoint)
    found = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target(endpoint)["ResourceId"]]
    )
    assert found["ScalableTargets"] == []
