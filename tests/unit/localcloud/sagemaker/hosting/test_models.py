"""Models and endpoint configs: created, described, refused and deleted."""

from typing import Any

import pytest

from tests.unit.localcloud.conftest import ARN, Cloud, model_request, refusal, variant_request


def create_config(cloud: Cloud, variants: list[dict[str, Any]], **more: Any) -> str:
    """The message that refuses this endpoint config."""
    request = {"EndpointConfigName": "c", "ProductionVariants": variants} | more
    return refusal(cloud.unchecked.create_endpoint_config, **request)


def test_a_model_is_described_as_it_was_created(cloud: Cloud) -> None:
    request = model_request("Run-1")
    assert cloud.sagemaker.create_model(**request)["ModelArn"] == f"{ARN}:model/run-1"
    described = cloud.sagemaker.describe_model(ModelName="Run-1")
    assert {name: described[name] for name in request} == request
    assert described["EnableNetworkIsolation"] is False


def test_a_single_container_may_stand_in_a_list(cloud: Cloud) -> None:
    request = model_request("m")
    request["Containers"] = [request.pop("PrimaryContainer")]
    cloud.sagemaker.create_model(**request)
    assert cloud.sagemaker.describe_model(ModelName="m")["Containers"] == request["Containers"]


def test_a_models_name_is_taken_until_it_is_deleted(cloud: Cloud) -> None:
    cloud.model("Run-1")
    message = refusal(cloud.sagemaker.create_model, **model_request("run-1"))
    assert message == f'Cannot create already existing model "{ARN}:model/run-1".'
    cloud.sagemaker.delete_model(ModelName="Run-1")
    cloud.model("Run-1")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"Image": "has space"}, "Member must satisfy regular expression pattern: [\\S]+"),
        ({"ModelDataUrl": "ftp://x/y"}, "Member must satisfy regular expression pattern: (https|s3)://"),
        ({"ModelDataUrl": "https://example.com/m.tar.gz"}, "must start with s3://"),
        ({"Mode": "MultiModel"}, "Multi-model containers are not available"),
        ({"Environment": {"1bad": "x"}}, "'primaryContainer.environment' failed to satisfy constraint"),
    ],
)
def test_a_container_that_cannot_serve_is_refused(
    cloud: Cloud, container: dict[str, Any], message: str
) -> None:
    request = model_request("m")
    request["PrimaryContainer"] |= container
    assert message in refusal(cloud.sagemaker.create_model, **request)


def test_a_model_needs_exactly_one_container_and_a_role_sagemaker_can_assume(cloud: Cloud) -> None:
    create, container = cloud.sagemaker.create_model, model_request("m")["PrimaryContainer"]
    both = model_request("m", Containers=[container])
    for request in (both, {"ModelName": "m"}):
        assert "either PrimaryContainer or Containers" in refusal(create, **request)
    two = [container, container]
    assert "Inference pipelines are not available" in refusal(create, ModelName="m", Containers=two)
    without_role = refusal(create, ModelName="m", PrimaryContainer=container)
    assert "ExecutionRoleArn is required" in without_role
    role = "arn:aws:iam::000000000000:role/nobody"
    message = refusal(create, **model_request("m", ExecutionRoleArn=role))
    assert message.startswith(f"Could not assume role {role}.")


def test_a_config_is_described_with_the_default_weight(cloud: Cloud) -> None:
    cloud.model("m")
    variant = variant_request("m")
    created = cloud.sagemaker.create_endpoint_config(EndpointConfigName="C", ProductionVariants=[variant])
    assert created["EndpointConfigArn"] == f"{ARN}:endpoint-config/c"
    described = cloud.sagemaker.describe_endpoint_config(EndpointConfigName="C")
    assert described["ProductionVariants"] == [variant | {"InitialVariantWeight": 1.0}]


def test_a_configs_name_is_taken_until_it_is_deleted(cloud: Cloud) -> None:
    cloud.config("c")
    message = create_config(cloud, [variant_request("c")])
    assert message == f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/c".'
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="c")
    cloud.config("c", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ModelName": "nobody"}, f'Could not find model "{ARN}:model/nobody".'),
        ({"ModelName": None}, "Inference components are not available"),
        ({"InstanceType": None}, "needs InstanceType and InitialInstanceCount"),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}},
            "cannot have InstanceType and InitialInstanceCount",
        ),
        ({"InitialInstanceCount": 0}, "Member must have value greater than or equal to 1"),
        ({"InitialVariantWeight": -1.0}, "Member must have value greater than or equal to 0"),
    ],
)
def test_a_variant_that_cannot_serve_is_refused(cloud: Cloud, change: dict[str, Any], message: str) -> None:
    cloud.model("m")
    variant = {name: value for name, value in (variant_request("m") | change).items() if value is not None}
    assert message in create_config(cloud, [variant])


def test_variants_have_names_of_their_own_and_inference_is_synchronous(cloud: Cloud) -> None:
    cloud.model("m")
    assert "must be unique" in create_config(cloud, [variant_request("m")] * 2)
    output = {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}
    message = create_config(cloud, [variant_request("m")], AsyncInferenceConfig=output)
    assert message == "Asynchronous inference (AsyncInferenceConfig) is not available in the local cloud."


@pytest.mark.parametrize("operation", ["describe", "delete"])
@pytest.mark.parametrize(
    ("kind", "parameter", "name"),
    [
        ("model", "ModelName", 'model "{}:model/nobody"'),
        ("endpoint_config", "EndpointConfigName", 'endpoint configuration "{}:endpoint-config/nobody"'),
        ("endpoint", "EndpointName", 'endpoint "{}:endpoint/nobody"'),
    ],
)
def test_a_resource_that_does_not_exist_cannot_be_found(
    cloud: Cloud, operation: str, kind: str, parameter: str, name: str
) -> None:
    message = refusal(getattr(cloud.sagemaker, f"{operation}_{kind}"), **{parameter: "nobody"})
    assert message == f"Could not find {name.format(ARN)}."
