"""The model registry: groups, versions that rise, who approved what, and the events that tell of it."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
CHANGE = "SageMaker Model Package State Change"
INFERENCE = {
    "Containers": [
        {
            "Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py312",
            "ModelDataUrl": "s3://bucket/runs/run-1/output/model.tar.gz",
            "Environment": {"SAGEMAKER_PROGRAM": "generate.py"},
        }
    ],
    "SupportedContentTypes": ["application/json"],
    "SupportedResponseMIMETypes": ["application/json"],
}


def refusal(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def registry(cloud: Cloud) -> Any:
    """A client of a SageMaker that has the group Sotu."""
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="Sotu")
    return cloud.sagemaker


def register(registry: Any, **parameters: Any) -> str:
    """Register a version and answer its ARN."""
    request = {"ModelPackageGroupName": "Sotu", "InferenceSpecification": INFERENCE} | parameters
    return str(registry.create_model_package(**request)["ModelPackageArn"])


def versions(answer: dict[str, Any]) -> list[int]:
    return [package["ModelPackageVersion"] for package in answer["ModelPackageSummaryList"]]


# --- groups ---


def test_a_group_is_described_by_its_name_and_its_arn(cloud: Cloud) -> None:
    tags = [{"Key": "lexline", "Value": "yes"}]
    made = cloud.sagemaker.create_model_package_group(
        ModelPackageGroupName="Sotu", ModelPackageGroupDescription="Speeches (1790-2006), naïve", Tags=tags
    )
    assert made["ModelPackageGroupArn"] == f"{ARN}:model-package-group/sotu"
    described = cloud.sagemaker.describe_model_package_group(ModelPackageGroupName="Sotu")
    assert described["ModelPackageGroupName"] == "Sotu"
    assert described["ModelPackageGroupDescription"] == "Speeches (1790-2006), naïve"
    assert described["ModelPackageGroupStatus"] == "Completed"
    by_arn = cloud.sagemaker.describe_model_package_group(ModelPackageGroupName=made["ModelPackageGroupArn"])
    assert by_arn["CreationTime"] == described["CreationTime"]
    assert cloud.sagemaker.list_tags(ResourceArn=made["ModelPackageGroupArn"])["Tags"] == tags


def test_a_groups_name_is_taken_until_it_is_deleted(registry: Any) -> None:
    assert refusal(registry.create_model_package_group, ModelPackageGroupName="sotu") == (
        "ValidationException",
        f"Model Package Group already exists: {ARN}:model-package-group/sotu",
    )
    registry.delete_model_package_group(ModelPackageGroupName="Sotu")
    registry.create_model_package_group(ModelPackageGroupName="sotu")


@pytest.mark.parametrize("call", ["describe_model_package_group", "delete_model_package_group"])
def test_a_group_that_is_not_there_does_not_exist(cloud: Cloud, call: str) -> None:
    missing = ("ValidationException", f"ModelPackageGroup {ARN}:model-package-group/nobody does not exist.")
    for name in ("Nobody", f"{ARN}:model-package-group/nobody"):
        assert refusal(getattr(cloud.sagemaker, call), ModelPackageGroupName=name) == missing


def test_a_group_is_not_deleted_while_it_has_packages(registry: Any) -> None:
    package = register(registry)
    code, message = refusal(registry.delete_model_package_group, ModelPackageGroupName="Sotu")
    assert code == "ConflictException"
    assert message == (
        f"Model Package Group {ARN}:model-package-group/sotu cannot be deleted because it still contains "
        "Model Packages."
    )
    registry.delete_model_package(ModelPackageName=package)
    registry.delete_model_package_group(ModelPackageGroupName="Sotu")
    assert registry.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_groups_are_listed_oldest_first(cloud: Cloud) -> None:
    for name in ("sotu", "wikitext", "sonnets"):
        cloud.sagemaker.create_model_package_group(ModelPackageGroupName=name)
    groups = cloud.sagemaker.list_model_package_groups
    by_name = groups(SortBy="Name")["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in by_name] == ["sonnets", "sotu", "wikitext"]
    found = groups(NameContains="SO")["ModelPackageGroupSummaryList"]
    assert {group["ModelPackageGroupName"] for group in found} == {"sotu", "sonnets"}
    created = [group["CreationTime"] for group in groups()["ModelPackageGroupSummaryList"]]
    assert created == sorted(created)
    assert groups(CrossAccountFilterOption="CrossAccount")["ModelPackageGroupSummaryList"] == []


# --- versions ---


def test_versions_rise_and_are_never_given_again(registry: Any) -> None:
    first, second = register(registry), register(registry)
    assert (first, second) == (f"{ARN}:model-package/sotu/1", f"{ARN}:model-package/sotu/2")
    registry.delete_model_package(ModelPackageName=second)
    assert register(registry, ModelPackageGroupName=f"{ARN}:model-package-group/sotu").endswith("/sotu/3")
    registry.create_model_package_group(ModelPackageGroupName="other")
    assert register(registry, ModelPackageGroupName="other") == f"{ARN}:model-package/other/1"


def test_a_package_is_described_as_it_was_registered(registry: Any) -> None:
    asked = {
        "ModelPackageDescription": "trained on sotu",
        "ModelApprovalStatus": "Approved",
        "CustomerMetadataProperties": {"test_perplexity": "61.2", "run": "lexline-sotu-0123"},
        "MetadataProperties": {"CommitId": "abc", "GeneratedBy": f"{ARN}:training-job/run-1"},
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {"ContentType": "application/json", "S3Uri": "s3://bucket/metrics.json"}
            }
        },
    }
    arn = register(registry, **asked)
    described = registry.describe_model_package(ModelPackageName=arn)
    assert {name: described[name] for name in asked} == asked
    assert described["InferenceSpecification"] == INFERENCE
    assert (described["ModelPackageGroupName"], described["ModelPackageVersion"]) == ("Sotu", 1)
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    assert not {"ModelPackageName", "ClientToken", "LastModifiedTime", "ApprovalDescription"} & set(described)
    by_name = registry.describe_model_package(ModelPackageName="Sotu/1", IncludedData="MetadataOnly")
    assert by_name["ModelPackageArn"] == arn


def test_a_package_waits_for_approval_unless_it_is_said(registry: Any) -> None:
    described = registry.describe_model_package(ModelPackageName=register(registry))
    assert described["ModelApprovalStatus"] == "PendingManualApproval"


def test_one_token_registers_once(registry: Any) -> None:
    arn = register(registry, ClientToken="run-1")
    assert register(registry, ClientToken="run-1") == arn
    assert register(registry, ClientToken="run-2") != arn
    code, message = refusal(
        registry.create_model_package, ModelPackageGroupName="Sotu", ClientToken="run-1", Domain="other"
    )
    assert code == "ConflictException"
    assert f"ClientToken run-1 has been used to create {arn} with other parameters" in message
    assert versions(registry.list_model_packages(ModelPackageGroupName="Sotu")) == [1, 2]


@pytest.mark.parametrize(
    ("call", "member"),
    [
        ("describe_model_package", "ModelPackageName"),
        ("delete_model_package", "ModelPackageName"),
        ("update_model_package", "ModelPackageArn"),
    ],
)
def test_a_package_that_is_not_there_does_not_exist(registry: Any, call: str, member: str) -> None:
    arn = f"{ARN}:model-package/sotu/7"
    missing = ("ValidationException", f"ModelPackage {arn} does not exist.")
    assert refusal(getattr(registry, call), **{member: arn}) == missing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ModelPackageGroupName": "nobody"}, f"ModelPackageGroup {ARN}:model-package-group/nobody does not"),
        ({"ModelPackageGroupName": None}, "give a ModelPackageGroupName"),
        ({"ModelPackageName": "mine"}, "Both ModelPackageName and ModelPackageGroupName are provided"),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tags are not supported in Model Package versions."),
        ({"ManagedStorageType": "Restricted"}, "does not have managed storage (ManagedStorageType)"),
        ({"CertifyForMarketplace": True}, "does not apply to versioned model packages"),
        ({"CustomerMetadataProperties": {"perplexity": "61 (test)"}}, "'customerMetadataProperties' failed"),
    ],
)
def test_what_cannot_be_registered_is_refused(
    registry: Any, cloud: Cloud, change: dict[str, Any], message: str
) -> None:
    request = {"ModelPackageGroupName": "Sotu", "InferenceSpecification": INFERENCE} | change
    given = {name: value for name, value in request.items() if value is not None}
    code, said = refusal(cloud.unchecked.create_model_package, **given)
    assert code == "ValidationException"
    assert message in said
    assert registry.list_model_packages(ModelPackageGroupName="Sotu")["ModelPackageSummaryList"] == []


# --- approval ---


def test_an_approval_is_described_with_its_reason_and_time(registry: Any) -> None:
    arn = register(registry)
    answered = registry.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="better than the champion"
    )
    assert answered["ModelPackageArn"] == arn
    described = registry.describe_model_package(ModelPackageName=arn)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "better than the champion"
    assert described["LastModifiedTime"] >= described["CreationTime"]
    registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    described = registry.describe_model_package(ModelPackageName=arn)
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == (
        "Rejected",
        "better than the champion",
    )


def test_metadata_is_added_overwritten_and_taken_off(registry: Any) -> None:
    arn = register(registry, CustomerMetadataProperties={"run": "1", "live": "yes"})
    registry.update_model_package(
        ModelPackageArn=arn,
        CustomerMetadataProperties={"run": "2", "cost": "0.10"},
        CustomerMetadataPropertiesToRemove=["live", "never there"],
    )
    described = registry.describe_model_package(ModelPackageName=arn)
    assert described["CustomerMetadataProperties"] == {"run": "2", "cost": "0.10"}
    many = {f"key{number}": "x" for number in range(49)}
    code, message = refusal(
        registry.update_model_package, ModelPackageArn=arn, CustomerMetadataProperties=many
    )
    assert code == "ValidationException"
    assert "would have 51 CustomerMetadataProperties; 50 is the most" in message


def test_what_a_package_is_made_of_stays(registry: Any) -> None:
    arn = register(registry)
    code, message = refusal(
        registry.update_model_package, ModelPackageArn=arn, InferenceSpecification=INFERENCE
    )
    assert (code, "register another" in message) == ("ValidationException", True)


def test_packages_are_listed_by_group_and_approval_newest_first(registry: Any) -> None:
    registry.create_model_package_group(ModelPackageGroupName="other")
    register(registry, ModelPackageGroupName="other", ModelApprovalStatus="Approved")
    for number in range(12):
        register(registry, ModelApprovalStatus="Approved" if number % 4 == 3 else "Rejected")

    def listed(**filters: Any) -> list[int]:
        return versions(registry.list_model_packages(ModelPackageGroupName="Sotu", **filters))

    newest = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    assert listed(**newest, ModelApprovalStatus="Approved") == [12, 8, 4]
    assert listed(**newest, MaxResults=1) == [12]
    assert listed() == list(range(1, 11))
    pages = registry.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName="Sotu", **newest, PaginationConfig={"PageSize": 5}
    )
    assert [versions(page) for page in pages] == [[12, 11, 10, 9, 8], [7, 6, 5, 4, 3], [2, 1]]
    by_arn = registry.list_model_packages(ModelPackageGroupName=f"{ARN}:model-package-group/other")
    (summary,) = by_arn["ModelPackageSummaryList"]
    assert summary["ModelPackageArn"] == f"{ARN}:model-package/other/1"
    assert (summary["ModelPackageStatus"], summary["ModelApprovalStatus"]) == ("Completed", "Approved")


def test_without_a_group_versioned_packages_are_listed_only_when_asked_for(registry: Any) -> None:
    register(registry)
    assert versions(registry.list_model_packages()) == []
    assert versions(registry.list_model_packages(ModelPackageType="Versioned")) == [1]
    assert versions(registry.list_model_packages(ModelPackageType="Both")) == [1]
    assert versions(registry.list_model_packages(ModelPackageGroupName="nobody")) == []


# --- events ---


def test_creation_and_approval_are_told(cloud: Cloud, registry: Any) -> None:
    arn = register(registry, CustomerMetadataProperties={"run": "1"})
    registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")  # no change, no event
    registry.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"live": "yes"})
    eventually(lambda: len(cloud.events(CHANGE, "ModelPackageArn")) == 3)
    approvals = cloud.events(CHANGE, "ModelApprovalStatus")
    assert approvals == ["PendingManualApproval", "Approved", "Approved"]
    assert cloud.events(CHANGE, "UpdatedModelPackageFields") == [
        None,
        ["ModelApprovalStatus"],
        ["CustomerMetadataProperties"],
    ]
    _, detail, resources = cloud.host.events[0]
    assert resources == [arn]
    assert (detail["ModelPackageGroupName"], detail["ModelPackageVersion"]) == ("Sotu", 1)
    assert detail["InferenceSpecification"] == INFERENCE
    assert isinstance(detail["CreationTime"], int)
