"""Each operation asks IAM for its own action on the resources that AWS's reference names."""

from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.localcloud.conftest import (
    ARN,
    CALLER,
    ROLE,
    Cloud,
    model_request,
    refusal,
    training_request,
    variant_request,
)

GROUP, PACKAGE = f"{ARN}:model-package-group/sotu", f"{ARN}:model-package/sotu/1"
TAGS = [{"Key": "lexline:run", "Value": "run"}]
OPERATIONS: list[tuple[str, dict[str, Any], str]] = [
    ("DescribeTrainingJob", {"TrainingJobName": "Run-1"}, "training-job/run-1"),
    ("StopTrainingJob", {"TrainingJobName": "Run-1"}, "training-job/run-1"),
    ("ListTrainingJobs", {}, "*"),
    ("DescribeModel", {"ModelName": "Run-1"}, "model/run-1"),
    ("DeleteModel", {"ModelName": "Run-1"}, "model/run-1"),
    ("ListModels", {}, "*"),
    ("DescribeEndpointConfig", {"EndpointConfigName": "Run-1"}, "endpoint-config/run-1"),
    ("DeleteEndpointConfig", {"EndpointConfigName": "Run-1"}, "endpoint-config/run-1"),
    ("ListEndpointConfigs", {}, "*"),
    ("DescribeEndpoint", {"EndpointName": "Lexline"}, "endpoint/lexline"),
    ("DeleteEndpoint", {"EndpointName": "Lexline"}, "endpoint/lexline"),
    ("ListEndpoints", {}, "*"),
    ("DescribeModelPackageGroup", {"ModelPackageGroupName": "Sotu"}, "model-package-group/sotu"),
    ("DeleteModelPackageGroup", {"ModelPackageGroupName": GROUP}, "model-package-group/sotu"),
    ("ListModelPackageGroups", {}, "*"),
    ("DescribeModelPackage", {"ModelPackageName": "Sotu/1"}, "model-package/sotu/1"),
    ("UpdateModelPackage", {"ModelPackageArn": PACKAGE}, "model-package/sotu/1"),
    ("DeleteModelPackage", {"ModelPackageName": PACKAGE}, "model-package/sotu/1"),
    ("ListModelPackages", {}, "*"),
    ("AddTags", {"ResourceArn": f"{ARN}:model/m", "Tags": TAGS}, "model/m"),
    ("ListTags", {"ResourceArn": f"{ARN}:model/m"}, "model/m"),
    ("DeleteTags", {"ResourceArn": f"{ARN}:model/m", "TagKeys": ["a"]}, "model/m"),
]


@pytest.mark.parametrize(("action", "parameters", "resource"), OPERATIONS, ids=lambda value: str(value)[:30])
def test_the_action_on_the_resource_is_needed_and_enough(
    cloud: Cloud, action: str, parameters: dict[str, Any], resource: str
) -> None:
    call = partial(cloud.caller._make_api_call, action, parameters)
    arn = resource if resource == "*" else f"{ARN}:{resource}"
    cloud.host.policies[CALLER] = [("sagemaker:InvokeEndpoint", "*")]
    message = refusal(call, "AccessDeniedException")
    assert f"is not authorized to perform: sagemaker:{action} on resource: {arn}" in message
    cloud.host.policies[CALLER] = [(f"sagemaker:{action}", arn)]
    if resource == "*":
        call()
    else:
        with pytest.raises(ClientError, match=r"Could not find|not found|does not exist"):
            call()


def needs(action: str, resource: str, *more: tuple[str, str], tags: bool = True) -> list[tuple[str, str]]:
    """The permissions for a create operation on one resource, and further ones."""
    arn = f"{ARN}:{resource}"
    return [(f"sagemaker:{action}", arn), *more, *([("sagemaker:AddTags", arn)] if tags else [])]


PASS_ROLE = ("iam:PassRole", ROLE)
ENDPOINT = {"EndpointName": "Lexline", "EndpointConfigName": "First", "Tags": TAGS}
CONFIG = {"EndpointConfigName": "Run", "ProductionVariants": [variant_request("first")], "Tags": TAGS}
NEEDS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    (
        "create_training_job",
        training_request("Run", Tags=TAGS),
        needs("CreateTrainingJob", "training-job/run", PASS_ROLE),
    ),
    ("create_model", model_request("Run", Tags=TAGS), needs("CreateModel", "model/run", PASS_ROLE)),
    ("create_endpoint_config", CONFIG, needs("CreateEndpointConfig", "endpoint-config/run")),
    (
        "create_endpoint",
        ENDPOINT,
        needs(
            "CreateEndpoint", "endpoint/lexline", ("sagemaker:CreateEndpoint", f"{ARN}:endpoint-config/first")
        ),
    ),
    (
        "create_model_package_group",
        {"ModelPackageGroupName": "Run", "Tags": TAGS},
        needs("CreateModelPackageGroup", "model-package-group/run"),
    ),
    (
        "create_model_package",
        {"ModelPackageGroupName": "Sotu"},
        needs(
            "CreateModelPackage", "model-package/sotu/2", ("sagemaker:CreateModelPackage", GROUP), tags=False
        ),
    ),
    (
        "update_endpoint",
        {"EndpointName": "Busy", "EndpointConfigName": "First"},
        needs(
            "UpdateEndpoint",
            "endpoint/busy",
            ("sagemaker:UpdateEndpoint", f"{ARN}:endpoint-config/first"),
            tags=False,
        ),
    ),
]


@pytest.mark.parametrize(("call", "parameters", "permissions"), NEEDS, ids=[row[0] for row in NEEDS])
def test_creating_needs_each_permission_of_the_reference_and_no_other(
    cloud: Cloud, call: str, parameters: dict[str, Any], permissions: list[tuple[str, str]]
) -> None:
    cloud.endpoint("Busy", "first")
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="Sotu")
    cloud.sagemaker.create_model_package(ModelPackageGroupName="Sotu")
    for missing in permissions:
        cloud.host.policies[CALLER] = [each for each in permissions if each != missing]
        message = refusal(getattr(cloud.caller, call), "AccessDeniedException", **parameters)
        assert f"{missing[0]} on resource: {missing[1]}" in message
    cloud.host.policies[CALLER] = permissions
    getattr(cloud.caller, call)(**parameters)


def test_creating_without_tags_does_not_need_addtags(cloud: Cloud) -> None:
    cloud.host.policies[CALLER] = needs("CreateModel", "model/run", PASS_ROLE, tags=False)
    cloud.caller.create_model(**model_request("Run"))


def test_a_denied_request_leaves_nothing_behind(cloud: Cloud) -> None:
    refusal(cloud.caller.create_training_job, "AccessDeniedException", **training_request("run"))
    assert cloud.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert cloud.runs == []


def test_invoking_needs_invokeendpoint_on_the_endpoint(cloud: Cloud) -> None:
    cloud.endpoint("Lexline")
    cloud.host.policies[CALLER] = [("sagemaker:InvokeEndpoint", f"{ARN}:endpoint/other")]
    with pytest.raises(ClientError) as caught:
        cloud.caller_runtime.invoke_endpoint(EndpointName="Lexline", Body=b"{}")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    expected = f"sagemaker:InvokeEndpoint on resource: {ARN}:endpoint/lexline"
    assert expected in caught.value.response["Error"]["Message"]
    cloud.host.policies[CALLER] = [("sagemaker:InvokeEndpoint", f"{ARN}:endpoint/lexline")]
    cloud.caller_runtime.invoke_endpoint(EndpointName="Lexline", Body=b"{}")
