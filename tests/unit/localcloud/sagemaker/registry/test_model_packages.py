"""The model registry: groups, versions, approvals, and their events."""

from typing import Any

import pytest

from tests.unit.localcloud.conftest import ARN, HOSTING_IMAGE, Cloud, eventually, refusal

CHANGE = "SageMaker Model Package State Change"
GROUP = f"{ARN}:model-package-group/sotu"
INFERENCE = {
    "Containers": [
        {
            "Image": HOSTING_IMAGE,
            "ModelDataUrl": "s3://bucket/runs/run-1/output/model.tar.gz",
            "Environment": {"SAGEMAKER_PROGRAM": "generate.py"},
        }
    ],
    "SupportedContentTypes": ["application/json"],
    "SupportedResponseMIMETypes": ["application/json"],
}


@pytest.fixture
def registry(cloud: Cloud) -> Any:
    """A client of a SageMaker that has the group Sotu."""
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="Sotu")
    return cloud.sagemaker


def register(registry: Any, **parameters: Any) -> str:
    """Register a version; return its ARN."""
    request = {"ModelPackageGroupName": "Sotu", "InferenceSpecification": INFERENCE} | parameters
    return str(registry.create_model_package(**request)["ModelPackageArn"])


def versions(response: dict[str, Any]) -> list[int]:
    return [package["ModelPackageVersion"] for package in response["ModelPackageSummaryList"]]


def describe(registry: Any, arn: str) -> dict[str, Any]:
    return dict(registry.describe_model_package(ModelPackageName=arn))


def test_a_group_is_described_by_its_name_and_its_arn(cloud: Cloud) -> None:
    tags = [{"Key": "lexline", "Value": "yes"}]
    request = {"ModelPackageGroupName": "Sotu", "ModelPackageGroupDescription": "Speeches (1790-2006), naïve"}
    created = cloud.sagemaker.create_model_package_group(**request, Tags=tags)
    assert created["ModelPackageGroupArn"] == GROUP
    described = cloud.sagemaker.describe_model_package_group(ModelPackageGroupName="Sotu")
    assert described.items() >= (request | {"ModelPackageGroupStatus": "Completed"}).items()
    by_arn = cloud.sagemaker.describe_model_package_group(ModelPackageGroupName=GROUP)
    assert by_arn["CreationTime"] == described["CreationTime"]
    assert cloud.sagemaker.list_tags(ResourceArn=GROUP)["Tags"] == tags


def test_a_groups_name_is_taken_until_it_is_deleted(registry: Any) -> None:
    message = refusal(registry.create_model_package_group, ModelPackageGroupName="sotu")
    assert message == f"Model Package Group already exists: {GROUP}"
    registry.delete_model_package_group(ModelPackageGroupName="Sotu")
    registry.create_model_package_group(ModelPackageGroupName="sotu")


@pytest.mark.parametrize("call", ["describe_model_package_group", "delete_model_package_group"])
def test_an_unknown_group_does_not_exist(cloud: Cloud, call: str) -> None:
    arn = f"{ARN}:model-package-group/nobody"
    for name in ("Nobody", arn):
        message = refusal(getattr(cloud.sagemaker, call), ModelPackageGroupName=name)
        assert message == f"ModelPackageGroup {arn} does not exist."


def test_a_group_is_not_deleted_while_it_has_packages(registry: Any) -> None:
    package = register(registry)
    delete = registry.delete_model_package_group
    assert refusal(delete, "ConflictException", ModelPackageGroupName="Sotu") == (
        f"Model Package Group {GROUP} cannot be deleted because it still contains Model Packages."
    )
    registry.delete_model_package(ModelPackageName=package)
    delete(ModelPackageGroupName="Sotu")
    assert registry.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_groups_are_listed_oldest_first(cloud: Cloud) -> None:
    for name in ("sotu", "wikitext", "sonnets"):
        cloud.sagemaker.create_model_package_group(ModelPackageGroupName=name)

    def groups(member: str, **filters: Any) -> list[Any]:
        found = cloud.sagemaker.list_model_package_groups(**filters)["ModelPackageGroupSummaryList"]
        return [group[member] for group in found]

    assert groups("ModelPackageGroupName", SortBy="Name") == ["sonnets", "sotu", "wikitext"]
    assert set(groups("ModelPackageGroupName", NameContains="SO")) == {"sotu", "sonnets"}
    assert groups("CreationTime") == sorted(groups("CreationTime"))
    assert groups("ModelPackageGroupName", CrossAccountFilterOption="CrossAccount") == []


def test_versions_rise_and_are_never_given_again(registry: Any) -> None:
    first, second = register(registry), register(registry)
    assert (first, second) == (f"{ARN}:model-package/sotu/1", f"{ARN}:model-package/sotu/2")
    registry.delete_model_package(ModelPackageName=second)
    assert register(registry, ModelPackageGroupName=GROUP).endswith("/sotu/3")
    registry.create_model_package_group(ModelPackageGroupName="other")
    assert register(registry, ModelPackageGroupName="other") == f"{ARN}:model-package/other/1"


def test_a_package_is_described_as_it_was_registered(registry: Any) -> None:
    statistics = {"ContentType": "application/json", "S3Uri": "s3://bucket/metrics.json"}
    request = {
        "ModelPackageDescription": "trained on sotu",
        "ModelApprovalStatus": "Approved",
        "CustomerMetadataProperties": {"test_perplexity": "61.2", "run": "lexline-sotu-0123"},
        "MetadataProperties": {"CommitId": "abc", "GeneratedBy": f"{ARN}:training-job/run-1"},
        "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
    }
    arn = register(registry, **request)
    described = describe(registry, arn)
    assert {name: described[name] for name in request} == request
    assert described["InferenceSpecification"] == INFERENCE
    assert (described["ModelPackageGroupName"], described["ModelPackageVersion"]) == ("Sotu", 1)
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    assert not {"ModelPackageName", "ClientToken", "LastModifiedTime", "ApprovalDescription"} & set(described)
    by_name = registry.describe_model_package(ModelPackageName="Sotu/1", IncludedData="MetadataOnly")
    assert by_name["ModelPackageArn"] == arn


def test_one_token_registers_once(registry: Any) -> None:
    arn = register(registry, ClientToken="run-1")
    assert register(registry, ClientToken="run-1") == arn
    assert register(registry, ClientToken="run-2") != arn
    other = {"ModelPackageGroupName": "Sotu", "ClientToken": "run-1", "Domain": "other"}
    message = refusal(registry.create_model_package, "ConflictException", **other)
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
def test_an_unknown_package_does_not_exist(registry: Any, call: str, member: str) -> None:
    arn = f"{ARN}:model-package/sotu/7"
    assert refusal(getattr(registry, call), **{member: arn}) == f"ModelPackage {arn} does not exist."


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
def test_an_invalid_package_is_refused(
    registry: Any, cloud: Cloud, change: dict[str, Any], message: str
) -> None:
    request = {"ModelPackageGroupName": "Sotu", "InferenceSpecification": INFERENCE} | change
    given = {name: value for name, value in request.items() if value is not None}
    assert message in refusal(cloud.unchecked.create_model_package, **given)
    assert versions(registry.list_model_packages(ModelPackageGroupName="Sotu")) == []


def test_a_package_waits_for_approval_and_is_described_with_its_reason_and_time(registry: Any) -> None:
    arn = register(registry)
    assert describe(registry, arn)["ModelApprovalStatus"] == "PendingManualApproval"
    approval = {"ModelApprovalStatus": "Approved", "ApprovalDescription": "better than the champion"}
    assert registry.update_model_package(ModelPackageArn=arn, **approval)["ModelPackageArn"] == arn
    described = describe(registry, arn)
    assert described.items() >= approval.items()
    assert described["LastModifiedTime"] >= described["CreationTime"]
    registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    assert describe(registry, arn).items() >= (approval | {"ModelApprovalStatus": "Rejected"}).items()


def test_metadata_is_added_overwritten_and_removed_and_the_rest_is_fixed(registry: Any) -> None:
    arn = register(registry, CustomerMetadataProperties={"run": "1", "live": "yes"})
    registry.update_model_package(
        ModelPackageArn=arn,
        CustomerMetadataProperties={"run": "2", "cost": "0.10"},
        CustomerMetadataPropertiesToRemove=["live", "never there"],
    )
    assert describe(registry, arn)["CustomerMetadataProperties"] == {"run": "2", "cost": "0.10"}
    many = {f"key{number}": "x" for number in range(49)}
    update = registry.update_model_package
    message = refusal(update, ModelPackageArn=arn, CustomerMetadataProperties=many)
    assert "would have 51 CustomerMetadataProperties; 50 is the most" in message
    message = refusal(update, ModelPackageArn=arn, InferenceSpecification=INFERENCE)
    assert "register another" in message


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


def test_without_a_group_versioned_packages_are_listed_only_on_request(registry: Any) -> None:
    register(registry)
    assert versions(registry.list_model_packages()) == []
    assert versions(registry.list_model_packages(ModelPackageType="Versioned")) == [1]
    assert versions(registry.list_model_packages(ModelPackageType="Both")) == [1]
    assert versions(registry.list_model_packages(ModelPackageGroupName="nobody")) == []


def test_creation_and_changes_are_events(cloud: Cloud, registry: Any) -> None:
    arn = register(registry, CustomerMetadataProperties={"run": "1"})
    approved = {"ModelApprovalStatus": "Approved"}
    # The second approval changes nothing, so it is no event.
    for change in (approved, approved, {"CustomerMetadataProperties": {"live": "yes"}}):
        registry.update_model_package(ModelPackageArn=arn, **change)
    eventually(lambda: len(cloud.events(CHANGE, "ModelPackageArn")) == 3)
    approvals = cloud.events(CHANGE, "ModelApprovalStatus")
    assert approvals == ["PendingManualApproval", "Approved", "Approved"]
    changed = cloud.events(CHANGE, "UpdatedModelPackageFields")
    assert changed == [None, ["ModelApprovalStatus"], ["CustomerMetadataProperties"]]
    _, detail, resources = cloud.host.events[0]
    assert resources == [arn]
    assert (detail["ModelPackageGroupName"], detail["ModelPackageVersion"]) == ("Sotu", 1)
    assert detail["InferenceSpecification"] == INFERENCE
    assert isinstance(detail["CreationTime"], int)
