"""Serverless endpoints: their limits, their descriptions, and the updates that AWS allows."""

import threading
from typing import Any

import pytest

from tests.unit.localcloud.conftest import Cloud, eventually, model_request, refusal

ROUTING = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
ALL_AT_ONCE = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": ROUTING}}


def variant(model: str, name: str = "AllTraffic", **config: Any) -> dict[str, Any]:
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5} | config
    return {"VariantName": name, "ModelName": model, "ServerlessConfig": serverless}


def configure(cloud: Cloud, name: str, **config: Any) -> None:
    """A serverless config with a model of the same name."""
    cloud.model(name)
    variants = [variant(name, **config)]
    cloud.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)


@pytest.fixture
def serverless(cloud: Cloud) -> Cloud:
    """An endpoint in service, with config `first`."""
    configure(cloud, "first")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint("InService")
    return cloud


def test_a_serverless_variant_has_no_instances(serverless: Cloud) -> None:
    (described,) = serverless.await_endpoint("InService")["ProductionVariants"]
    expected = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert described["CurrentServerlessConfig"] == described["DesiredServerlessConfig"] == expected
    assert not {"CurrentInstanceCount", "DesiredInstanceCount"} & set(described)
    assert serverless.fleets.made[0].launch.instance_count == 1


def test_all_serverless_endpoints_share_a_quota_of_requests_at_once(serverless: Cloud) -> None:
    quota = "Maximum total concurrency that can be allocated across all serverless endpoints"
    serverless.service._context.quotas.limits[quota] = 10
    for name, allowed in {"five": 5, "six": 6}.items():
        configure(serverless, name, MaxConcurrency=allowed)
    create = serverless.sagemaker.create_endpoint
    names = {"EndpointName": "another", "EndpointConfigName": "six"}
    assert quota in refusal(create, "ResourceLimitExceeded", **names)
    create(**names | {"EndpointConfigName": "five"})


@pytest.mark.parametrize("retain", [True, False])
def test_a_serverless_endpoint_is_updated_to_another_serverless_config(
    serverless: Cloud, retain: bool
) -> None:
    configure(serverless, "second", MemorySizeInMB=6144, MaxConcurrency=150, ProvisionedConcurrency=150)
    serverless.fleets.reset()
    serverless.fleets.script.ready = threading.Event()
    serverless.sagemaker.update_endpoint(
        EndpointName="lexline", EndpointConfigName="second", RetainAllVariantProperties=retain
    )
    described = serverless.sagemaker.describe_endpoint(EndpointName="lexline")
    (pending,) = described["PendingDeploymentSummary"]["ProductionVariants"]
    assert pending["DesiredServerlessConfig"]["MaxConcurrency"] == 150
    assert "DesiredInstanceCount" not in pending
    serverless.fleets.script.ready.set()
    described = serverless.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    (current,) = described["ProductionVariants"]
    assert current["CurrentServerlessConfig"]["ProvisionedConcurrency"] == 150
    eventually(lambda: serverless.fleets.made[0].stopped)


def test_a_serverless_endpoint_becomes_real_time_and_never_serverless_again(serverless: Cloud) -> None:
    serverless.config("instances", InitialInstanceCount=2)
    update = serverless.sagemaker.update_endpoint
    update(EndpointName="lexline", EndpointConfigName="instances", RetainAllVariantProperties=True)
    (current,) = serverless.await_endpoint("InService")["ProductionVariants"]
    assert current["CurrentInstanceCount"] == 2
    assert "CurrentServerlessConfig" not in current
    message = refusal(update, EndpointName="lexline", EndpointConfigName="first")
    assert message.startswith("Cannot update real-time endpoint")
    assert "to serverless inference" in message
    assert serverless.await_endpoint("InService")["EndpointConfigName"] == "instances"


def test_a_serverless_endpoint_takes_no_deployment_config(serverless: Cloud) -> None:
    serverless.config("instances", InitialInstanceCount=2)
    create, update = serverless.sagemaker.create_endpoint, serverless.sagemaker.update_endpoint
    for call, name, config in (
        (create, "other", "first"),
        (update, "lexline", "first"),
        (update, "lexline", "instances"),
    ):
        names = {"EndpointName": name, "EndpointConfigName": config}
        message = refusal(call, **names, DeploymentConfig=ALL_AT_ONCE)
        assert "DeploymentConfig is not supported for serverless endpoints" in message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"MemorySizeInMB": 1023}, "Member must have value greater than or equal to 1024"),
        ({"MemorySizeInMB": 6145}, "Member must have value less than or equal to 6144"),
        ({"MemorySizeInMB": 1536}, "Valid values are in 1 GB increments: 1024 MB, 2048 MB"),
        ({"MaxConcurrency": 0}, "Member must have value greater than or equal to 1"),
        ({"MaxConcurrency": 201}, "Member must have value less than or equal to 200"),
        ({"ProvisionedConcurrency": 6}, "It should be less than or equal to MaxConcurrency, 5."),
    ],
)
def test_a_serverless_config_keeps_to_its_limits(cloud: Cloud, config: dict[str, Any], message: str) -> None:
    cloud.model("m")
    request = {"EndpointConfigName": "c", "ProductionVariants": [variant("m", **config)]}
    assert message in refusal(cloud.unchecked.create_endpoint_config, **request)


def test_features_that_serverless_inference_lacks_are_refused(cloud: Cloud) -> None:
    cloud.model("plain")
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    cloud.sagemaker.create_model(**model_request("inside", VpcConfig=vpc))
    cloud.sagemaker.create_model(**model_request("alone", EnableNetworkIsolation=True))
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    for feature, variants, more in (
        ("multiple production variants", [variant("plain"), variant("plain", "other")], {}),
        ("data capture", [variant("plain")], {"DataCaptureConfig": capture}),
        ("VPC configuration", [variant("inside")], {}),
        ("network isolation", [variant("alone")], {}),
    ):
        request = {"EndpointConfigName": "c", "ProductionVariants": variants} | more
        message = refusal(cloud.sagemaker.create_endpoint_config, **request)
        assert message.startswith(f"Serverless Inference does not support {feature}")
