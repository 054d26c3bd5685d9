"""Every operation asks IAM for its own action, on the resources AWS's reference names."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
ROLE = "arn:aws:iam::000000000000:role/execution"


def denial(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    return str(caught.value.response["Error"]["Message"])


SIMPLE = [
    ("describe_training_job", {"TrainingJobName": "Run-1"}, "DescribeTrainingJob", "training-job/run-1"),
    ("stop_training_job", {"TrainingJobName": "Run-1"}, "StopTrainingJob", "training-job/run-1"),
    ("list_training_jobs", {}, "ListTrainingJobs", "*"),
    ("describe_model", {"ModelName": "Run-1"}, "DescribeModel", "model/run-1"),
    ("delete_model", {"ModelName": "Run-1"}, "DeleteModel", "model/run-1"),
    ("list_models", {}, "ListModels", "*"),
    (
        "describe_endpoint_config",
        {"EndpointConfigName": "Run-1"},
        "DescribeEndpointConfig",
        "endpoint-config/run-1",
    ),
    (
        "delete_endpoint_config",
        {"EndpointConfigName": "Run-1"},
        "DeleteEndpointConfig",
        "endpoint-config/run-1",
    ),
    ("list_endpoint_configs", {}, "ListEndpointConfigs", "*"),
    ("describe_endpoint", {"EndpointName": "Lexline"}, "DescribeEndpoint", "endpoint/lexline"),
    ("delete_endpoint", {"EndpointName": "Lexline"}, "DeleteEndpoint", "endpoint/lexline"),
    ("list_endpoints", {}, "ListEndpoints", "*"),
    (
        "describe_model_package_group",
        {"ModelPackageGroupName": "Sotu"},
        "DescribeModelPackageGroup",
        "model-package-group/sotu",
    ),
    (
        "delete_model_package_group",
        {"ModelPackageGroupName": f"{ARN}:model-package-group/sotu"},
        "DeleteModelPackageGroup",
        "model-package-group/sotu",
    ),
    ("list_model_package_groups", {}, "ListModelPackageGroups", "*"),
    (
        "describe_model_package",
        {"ModelPackageName": "Sotu/1"},
        "DescribeModelPackage",
        "model-package/sotu/1",
    ),
    (
        "update_model_package",
        {"ModelPackageArn": f"{ARN}:model-package/sotu/1"},
        "UpdateModelPackage",
        "model-package/sotu/1",
    ),
    (
        "delete_model_package",
        {"ModelPackageName": f"{ARN}:model-package/sotu/1"},
        "DeleteModelPackage",
        "model-package/sotu/1",
    ),
    ("list_model_packages", {}, "ListModelPackages", "*"),
    (
        "add_tags",
        {"ResourceArn": f"{ARN}:model/m", "Tags": [{"Key": "a", "Value": "b"}]},
        "AddTags",
        "model/m",
    ),
    ("list_tags", {"ResourceArn": f"{ARN}:model/m"}, "ListTags", "model/m"),
    ("delete_tags", {"ResourceArn": f"{ARN}:model/m", "TagKeys": ["a"]}, "DeleteTags", "model/m"),
]


@pytest.mark.parametrize(("call", "parameters", "action", "resource"), SIMPLE, ids=[row[2] for row in SIMPLE])
def test_an_action_is_denied_by_name_and_resource(
    cloud: Any, call: str, parameters: dict[str, Any], action: str, resource: str
) -> None:
    arn = resource if resource == "*" else f"{ARN}:{resource}"
    cloud.host.policies["AKIACALLER"] = [("sagemaker:InvokeEndpoint", "*")]
    message = denial(getattr(cloud.caller, call), **parameters)
    assert f"is not authorized to perform: sagemaker:{action} on resource: {arn}" in message


@pytest.mark.parametrize(("call", "parameters", "action", "resource"), SIMPLE, ids=[row[2] for row in SIMPLE])
def test_the_action_on_that_resource_is_enough(
    cloud: Any, call: str, parameters: dict[str, Any], action: str, resource: str
) -> None:
    arn = resource if resource == "*" else f"{ARN}:{resource}"
    cloud.host.policies["AKIACALLER"] = [(f"sagemaker:{action}", arn)]
    if action.startswith("List") and parameters == {}:
        getattr(cloud.caller, call)()
    else:
        with pytest.raises(ClientError, match=r"Could not find|not found|does not exist"):
            getattr(cloud.caller, call)(**parameters)


NEEDS = {
    "create_training_job": [
        ("sagemaker:CreateTrainingJob", f"{ARN}:training-job/run"),
        ("iam:PassRole", ROLE),
        ("sagemaker:AddTags", f"{ARN}:training-job/run"),
    ],
    "create_model": [
        ("sagemaker:CreateModel", f"{ARN}:model/run"),
        ("iam:PassRole", ROLE),
        ("sagemaker:AddTags", f"{ARN}:model/run"),
    ],
    "create_endpoint_config": [
        ("sagemaker:CreateEndpointConfig", f"{ARN}:endpoint-config/run"),
        ("sagemaker:AddTags", f"{ARN}:endpoint-config/run"),
    ],
    "create_endpoint": [
        ("sagemaker:CreateEndpoint", f"{ARN}:endpoint/lexline"),
        ("sagemaker:CreateEndpoint", f"{ARN}:endpoint-config/first"),
        ("sagemaker:AddTags", f"{ARN}:endpoint/lexline"),
    ],
    "create_model_package_group": [
        ("sagemaker:CreateModelPackageGroup", f"{ARN}:model-package-group/run"),
        ("sagemaker:AddTags", f"{ARN}:model-package-group/run"),
    ],
    "create_model_package": [
        ("sagemaker:CreateModelPackage", f"{ARN}:model-package/sotu/2"),
        ("sagemaker:CreateModelPackage", f"{ARN}:model-package-group/sotu"),
    ],
    "update_endpoint": [
        ("sagemaker:UpdateEndpoint", f"{ARN}:endpoint/busy"),
        ("sagemaker:UpdateEndpoint", f"{ARN}:endpoint-config/first"),
    ],
}


def parameters_of(call: str, requests: Any) -> dict[str, Any]:
    tags = [{"Key": "lexline:run", "Value": "run"}]
    endpoint = {"EndpointName": "Lexline", "EndpointConfigName": "First"}
    return {
        "create_training_job": requests.training("Run", Tags=tags),
        "create_model": requests.model("Run", Tags=tags),
        "create_endpoint_config": {
            "EndpointConfigName": "Run",
            "ProductionVariants": [requests.variant("first")],
            "Tags": tags,
        },
        "create_endpoint": endpoint | {"Tags": tags},
        "create_model_package_group": {"ModelPackageGroupName": "Run", "Tags": tags},
        "create_model_package": {"ModelPackageGroupName": "Sotu"},
        "update_endpoint": endpoint | {"EndpointName": "Busy"},
    }[call]


@pytest.mark.parametrize("call", NEEDS)
def test_creating_needs_each_permission_of_the_reference_and_no_other(
    cloud: Any, requests: Any, call: str
) -> None:
    cloud.endpoint("Busy", "first")
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="Sotu")
    cloud.sagemaker.create_model_package(ModelPackageGroupName="Sotu")
    for missing in NEEDS[call]:
        cloud.host.policies["AKIACALLER"] = [need for need in NEEDS[call] if need != missing]
        message = denial(getattr(cloud.caller, call), **parameters_of(call, requests))
        assert f"{missing[0]} on resource: {missing[1]}" in message
    cloud.host.policies["AKIACALLER"] = NEEDS[call]
    getattr(cloud.caller, call)(**parameters_of(call, requests))


def test_creating_without_tags_does_not_need_addtags(cloud: Any, requests: Any) -> None:
    cloud.host.policies["AKIACALLER"] = NEEDS["create_model"][:2]
    cloud.caller.create_model(**requests.model("Run"))


def test_a_denied_request_leaves_nothing_behind(cloud: Any, requests: Any) -> None:
    denial(cloud.caller.create_training_job, **requests.training("run"))
    assert cloud.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert cloud.runs == []


def test_invoking_needs_invokeendpoint_on_the_endpoint(cloud: Any) -> None:
    cloud.endpoint("Lexline")
    cloud.host.policies["AKIACALLER"] = [("sagemaker:InvokeEndpoint", f"{ARN}:endpoint/other")]
    with pytest.raises(ClientError) as caught:
        cloud.caller_runtime.invoke_endpoint(EndpointName="Lexline", Body=b"{}")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    expected = f"sagemaker:InvokeEndpoint on resource: {ARN}:endpoint/lexline"
    assert expected in caught.value.response["Error"]["Message"]
    cloud.host.policies["AKIACALLER"] = [("sagemaker:InvokeEndpoint", f"{ARN}:endpoint/lexline")]
    cloud.caller_runtime.invoke_endpoint(EndpointName="Lexline", Body=b"{}")
