"""Serverless endpoints: what they may be, how they are described, and what they can be updated to."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

ALL_AT_ONCE = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    }
}


def refusal(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    return str(error["Message"])


def variant(model: str, name: str = "AllTraffic", **config: Any) -> dict[str, Any]:
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5} | config
    return {"VariantName": name, "ModelName": model, "ServerlessConfig": serverless}


def configure(cloud: Any, name: str, **config: Any) -> None:
    """A serverless configuration with a model of the same name."""
    cloud.model(name)
    cloud.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant(name, **config)]
    )


@pytest.fixture
def serverless(cloud: Any) -> Any:
    """An endpoint in service, with configuration `first`."""
    configure(cloud, "first")
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint("InService")
    return cloud


def test_a_serverless_variant_has_no_instances(serverless: Any) -> None:
    (described,) = serverless.await_endpoint("InService")["ProductionVariants"]
    expected = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert described["CurrentServerlessConfig"] == described["DesiredServerlessConfig"] == expected
    assert "CurrentInstanceCount" not in described
    assert "DesiredInstanceCount" not in described
    assert serverless.fleets.made[0].launch.instance_count == 1


@pytest.mark.parametrize("retain", [True, False])
def test_a_serverless_endpoint_is_updated_to_another_serverless_configuration(
    serverless: Any, wait: Any, retain: bool
) -> None:
    configure(serverless, "second", MemorySizeInMB=6144, MaxConcurrency=200, ProvisionedConcurrency=200)
    serverless.fleets.reset()
    serverless.fleets.script.ready.clear()
    serverless.sagemaker.update_endpoint(
        EndpointName="lexline", EndpointConfigName="second", RetainAllVariantProperties=retain
    )
    described = serverless.sagemaker.describe_endpoint(EndpointName="lexline")
    (pending,) = described["PendingDeploymentSummary"]["ProductionVariants"]
    assert pending["DesiredServerlessConfig"]["MaxConcurrency"] == 200
    assert "DesiredInstanceCount" not in pending
    serverless.fleets.script.ready.set()
    described = serverless.await_endpoint("InService")
    assert described["EndpointConfigName"] == "second"
    (current,) = described["ProductionVariants"]
    assert current["CurrentServerlessConfig"]["ProvisionedConcurrency"] == 200
    wait(lambda: serverless.fleets.made[0].stopped)


def test_a_serverless_endpoint_becomes_real_time_and_never_serverless_again(serverless: Any) -> None:
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


def test_a_serverless_endpoint_takes_no_deployment_configuration(serverless: Any) -> None:
    expected = "DeploymentConfig is not supported for serverless endpoints"
    sagemaker = serverless.sagemaker
    for call, name in ((sagemaker.create_endpoint, "other"), (sagemaker.update_endpoint, "lexline")):
        names = {"EndpointName": name, "EndpointConfigName": "first"}
        assert expected in refusal(call, **names, DeploymentConfig=ALL_AT_ONCE)
    serverless.config("instances", InitialInstanceCount=2)
    names = {"EndpointName": "lexline", "EndpointConfigName": "instances"}
    assert expected in refusal(sagemaker.update_endpoint, **names, DeploymentConfig=ALL_AT_ONCE)


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
def test_a_serverless_configuration_keeps_to_its_limits(
    cloud: Any, config: dict[str, int], message: str
) -> None:
    cloud.model("m")
    create = cloud.unchecked.create_endpoint_config
    variants = [variant("m", **config)]
    assert message in refusal(create, EndpointConfigName="c", ProductionVariants=variants)


def test_what_serverless_inference_does_not_have_is_refused(cloud: Any, requests: Any) -> None:
    cloud.model("plain")
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    cloud.sagemaker.create_model(**requests.model("inside", VpcConfig=vpc))
    cloud.sagemaker.create_model(**requests.model("alone", EnableNetworkIsolation=True))
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
        message = refusal(
            cloud.sagemaker.create_endpoint_config,
            EndpointConfigName="c",
            ProductionVariants=variants,
            **more,
        )
        assert message.startswith(f"Serverless Inference does not support {feature}")
