"""Models, endpoint configurations and tags: records that are kept, described and deleted."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

ARN = "arn:aws:sagemaker:us-east-1:000000000000"


def refusal(call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error: dict[str, Any] = caught.value.response["Error"]
    return error


def test_a_model_is_described_as_it_was_made(cloud: Any, requests: Any) -> None:
    asked = requests.model("Run-1")
    assert cloud.sagemaker.create_model(**asked)["ModelArn"] == f"{ARN}:model/run-1"
    described = cloud.sagemaker.describe_model(ModelName="Run-1")
    assert {name: described[name] for name in asked} == asked
    assert described["EnableNetworkIsolation"] is False


def test_a_single_container_may_stand_in_a_list(cloud: Any, requests: Any) -> None:
    request = requests.model("m")
    request["Containers"] = [request.pop("PrimaryContainer")]
    cloud.sagemaker.create_model(**request)
    assert cloud.sagemaker.describe_model(ModelName="m")["Containers"] == request["Containers"]


def test_a_models_name_is_taken_until_it_is_deleted(cloud: Any, requests: Any) -> None:
    cloud.model("Run-1")
    error = refusal(cloud.sagemaker.create_model, **requests.model("run-1"))
    assert error["Code"] == "ValidationException"
    assert error["Message"] == f'Cannot create already existing model "{ARN}:model/run-1".'
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
    cloud: Any, requests: Any, container: dict[str, Any], message: str
) -> None:
    request = requests.model("m")
    request["PrimaryContainer"] |= container
    error = refusal(cloud.sagemaker.create_model, **request)
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]


def test_a_model_needs_exactly_one_container_and_a_role(cloud: Any, requests: Any) -> None:
    container = requests.model("m")["PrimaryContainer"]
    both = requests.model("m", Containers=[container])
    assert "either PrimaryContainer or Containers" in refusal(cloud.sagemaker.create_model, **both)["Message"]
    neither = {"ModelName": "m"}
    assert (
        "either PrimaryContainer or Containers" in refusal(cloud.sagemaker.create_model, **neither)["Message"]
    )
    two = {"ModelName": "m", "Containers": [container, container]}
    assert "Inference pipelines are not available" in refusal(cloud.sagemaker.create_model, **two)["Message"]
    nobody = {"ModelName": "m", "PrimaryContainer": container}
    assert "ExecutionRoleArn is required" in refusal(cloud.sagemaker.create_model, **nobody)["Message"]


def test_a_models_role_must_be_one_sagemaker_can_assume(cloud: Any, requests: Any) -> None:
    role = "arn:aws:iam::000000000000:role/nobody"
    error = refusal(cloud.sagemaker.create_model, **requests.model("m", ExecutionRoleArn=role))
    assert error["Message"].startswith(f"Could not assume role {role}.")


def test_a_configuration_is_described_with_the_weight_it_did_not_say(cloud: Any, requests: Any) -> None:
    cloud.model("m")
    variant = requests.variant("m")
    made = cloud.sagemaker.create_endpoint_config(EndpointConfigName="C", ProductionVariants=[variant])
    assert made["EndpointConfigArn"] == f"{ARN}:endpoint-config/c"
    described = cloud.sagemaker.describe_endpoint_config(EndpointConfigName="C")
    assert described["ProductionVariants"] == [variant | {"InitialVariantWeight": 1.0}]


def test_a_configuration_names_models_there_are(cloud: Any, requests: Any) -> None:
    error = refusal(
        cloud.sagemaker.create_endpoint_config,
        EndpointConfigName="c",
        ProductionVariants=[requests.variant("nobody")],
    )
    assert (error["Code"], error["Message"]) == (
        "ValidationException",
        f'Could not find model "{ARN}:model/nobody".',
    )


def test_a_configurations_name_is_taken_until_it_is_deleted(cloud: Any, requests: Any) -> None:
    cloud.config("c")
    error = refusal(
        cloud.sagemaker.create_endpoint_config,
        EndpointConfigName="c",
        ProductionVariants=[requests.variant("c")],
    )
    expected = f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/c".'
    assert error["Message"] == expected
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="c")
    cloud.config("c", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
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
def test_a_variant_that_cannot_serve_is_refused(
    cloud: Any, requests: Any, change: dict[str, Any], message: str
) -> None:
    cloud.model("m")
    variant = {name: value for name, value in (requests.variant("m") | change).items() if value is not None}
    error = refusal(
        cloud.unchecked.create_endpoint_config, EndpointConfigName="c", ProductionVariants=[variant]
    )
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]


def test_variants_have_names_of_their_own(cloud: Any, requests: Any) -> None:
    cloud.model("m")
    variants = [requests.variant("m")] * 2
    create = cloud.sagemaker.create_endpoint_config
    error = refusal(create, EndpointConfigName="c", ProductionVariants=variants)
    assert "must be unique" in error["Message"]


def test_asynchronous_inference_is_said_not_to_be_here(cloud: Any, requests: Any) -> None:
    cloud.model("m")
    error = refusal(
        cloud.sagemaker.create_endpoint_config,
        EndpointConfigName="c",
        ProductionVariants=[requests.variant("m")],
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://bucket/out"}},
    )
    assert error["Message"] == (
        "Asynchronous inference (AsyncInferenceConfig) is not available in the local cloud."
    )


@pytest.mark.parametrize(
    ("call", "parameter", "what"),
    [
        ("describe_model", "ModelName", 'model "{}:model/nobody"'),
        ("delete_model", "ModelName", 'model "{}:model/nobody"'),
        (
            "describe_endpoint_config",
            "EndpointConfigName",
            'endpoint configuration "{}:endpoint-config/nobody"',
        ),
        (
            "delete_endpoint_config",
            "EndpointConfigName",
            'endpoint configuration "{}:endpoint-config/nobody"',
        ),
        ("describe_endpoint", "EndpointName", 'endpoint "{}:endpoint/nobody"'),
        ("delete_endpoint", "EndpointName", 'endpoint "{}:endpoint/nobody"'),
    ],
)
def test_what_is_not_there_cannot_be_found(cloud: Any, call: str, parameter: str, what: str) -> None:
    error = refusal(getattr(cloud.sagemaker, call), **{parameter: "nobody"})
    assert (error["Code"], error["Message"]) == ("ValidationException", f"Could not find {what.format(ARN)}.")


def test_tags_are_added_overwritten_and_taken_off(cloud: Any, requests: Any) -> None:
    cloud.sagemaker.create_model(**requests.model("m", Tags=[{"Key": "a", "Value": "1"}]))
    arn = f"{ARN}:model/m"
    added = cloud.sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}]
    )
    assert added["Tags"] == [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}]
    cloud.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a", "never there"])
    assert cloud.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "3"}]


def test_every_kind_of_resource_has_tags_and_they_go_with_it(cloud: Any, wait: Any) -> None:
    cloud.endpoint("lexline", "first")
    cloud.train("job")
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="sotu")
    tags = [{"Key": "a", "Value": "1"}]
    kinds = (
        "model/first",
        "endpoint-config/first",
        "endpoint/lexline",
        "training-job/job",
        "model-package-group/sotu",
    )
    for resource in kinds:
        cloud.sagemaker.add_tags(ResourceArn=f"{ARN}:{resource}", Tags=tags)
        assert cloud.sagemaker.list_tags(ResourceArn=f"{ARN}:{resource}")["Tags"] == tags
    cloud.sagemaker.delete_endpoint(EndpointName="lexline")
    wait(lambda: cloud.sagemaker.list_endpoints()["Endpoints"] == [])
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="first")
    cloud.sagemaker.delete_model(ModelName="first")
    cloud.sagemaker.delete_model_package_group(ModelPackageGroupName="sotu")
    cloud.endpoint("lexline", "first")
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="sotu")
    gone = ("model/first", "endpoint-config/first", "endpoint/lexline", "model-package-group/sotu")
    for resource in gone:
        assert cloud.sagemaker.list_tags(ResourceArn=f"{ARN}:{resource}")["Tags"] == []


def test_tags_have_rules(cloud: Any) -> None:
    cloud.model("m")
    add, arn = cloud.sagemaker.add_tags, f"{ARN}:model/m"
    same = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    assert "Duplicate tag keys" in refusal(add, ResourceArn=arn, Tags=same)["Message"]
    reserved = [{"Key": "aws:mine", "Value": "1"}]
    assert "aws: prefixed" in refusal(add, ResourceArn=arn, Tags=reserved)["Message"]
    add(ResourceArn=arn, Tags=[{"Key": str(index), "Value": ""} for index in range(50)])
    one_more = [{"Key": "more", "Value": ""}]
    assert refusal(add, ResourceArn=arn, Tags=one_more)["Code"] == "ResourceLimitExceeded"
    unknown = refusal(add, ResourceArn=f"{ARN}:model/nobody", Tags=one_more)
    assert (unknown["Code"], unknown["Message"]) == (
        "ValidationException",
        f'Could not find resource "{ARN}:model/nobody".',
    )
