"""The model registry through boto3 against the running local cloud: versions, events and permissions."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.lab import Lab
from tests.integration.sagemaker.conftest import Inbox, Sagemaker, Until

RUN = uuid.uuid4().hex[:8]
ARN = "arn:aws:sagemaker:us-east-1:000000000000"


@pytest.fixture
def group(sagemaker: Sagemaker) -> Iterator[str]:
    """A group of the test's own; deleted with its packages at the end."""
    name = f"group-{uuid.uuid4().hex[:8]}"
    sagemaker.api.create_model_package_group(
        ModelPackageGroupName=name, Tags=[{"Key": "lexline:run", "Value": RUN}]
    )
    yield name
    pages = sagemaker.api.get_paginator("list_model_packages").paginate(ModelPackageGroupName=name)
    for page in pages:
        for package in page["ModelPackageSummaryList"]:
            sagemaker.api.delete_model_package(ModelPackageName=package["ModelPackageArn"])
    sagemaker.api.delete_model_package_group(ModelPackageGroupName=name)


def package(group: str, **more: Any) -> dict[str, Any]:
    containers = [{"Image": "pytorch-inference:2.6", "ModelDataUrl": "s3://bucket/model.tar.gz"}]
    return {
        "ModelPackageGroupName": group,
        "InferenceSpecification": {"Containers": containers},
        "CustomerMetadataProperties": {"test_perplexity": "61.2"},
    } | more


def test_a_version_is_registered_approved_and_found(sagemaker: Sagemaker, group: str) -> None:
    api = sagemaker.api
    first = api.create_model_package(**package(group), ModelApprovalStatus="Approved")["ModelPackageArn"]
    second = api.create_model_package(**package(group))["ModelPackageArn"]
    assert (first, second) == tuple(f"{ARN}:model-package/{group}/{version}" for version in (1, 2))
    newest = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 1}
    approved = {"ModelPackageGroupName": group, "ModelApprovalStatus": "Approved"}
    (found,) = api.list_model_packages(**approved, **newest)["ModelPackageSummaryList"]
    assert found["ModelPackageArn"] == first
    api.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Approved")
    (found,) = api.list_model_packages(**approved, **newest)["ModelPackageSummaryList"]
    assert found["ModelPackageArn"] == second
    described = api.describe_model_package(ModelPackageName=second)
    assert described["CustomerMetadataProperties"] == {"test_perplexity": "61.2"}
    with pytest.raises(ClientError, match="still contains Model Packages") as caught:
        api.delete_model_package_group(ModelPackageGroupName=group)
    assert caught.value.response["Error"]["Code"] == "ConflictException"


def test_a_registration_and_an_approval_are_events(
    sagemaker: Sagemaker, group: str, inbox: Inbox, until: Until
) -> None:
    arn = sagemaker.api.create_model_package(**package(group))["ModelPackageArn"]
    sagemaker.api.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    until(lambda: len(inbox.of(arn)) == 2, "the events of the package")
    events = sorted(inbox.of(arn), key=lambda event: "UpdatedModelPackageFields" in event["detail"])
    assert {event["detail-type"] for event in events} == {"SageMaker Model Package State Change"}
    assert [event["detail"]["ModelApprovalStatus"] for event in events] == [
        "PendingManualApproval",
        "Approved",
    ]
    assert {event["detail"]["ModelPackageGroupName"] for event in events} == {group}


def test_iam_decides_who_may_register_and_who_may_approve(sagemaker: Sagemaker, group: str, lab: Lab) -> None:
    packages, groups = f"{ARN}:model-package/{group}/*", f"{ARN}:model-package-group/{group}"
    create = {"Effect": "Allow", "Action": "sagemaker:CreateModelPackage"}
    registrar = lab.client_as("sagemaker", create | {"Resource": [packages, groups]})
    arn = registrar.create_model_package(**package(group))["ModelPackageArn"]
    with pytest.raises(ClientError, match=f"sagemaker:UpdateModelPackage on resource: {arn}") as caught:
        registrar.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    of_packages_only = lab.client_as("sagemaker", create | {"Resource": packages})
    with pytest.raises(ClientError, match=f"sagemaker:CreateModelPackage on resource: {groups}"):
        of_packages_only.create_model_package(**package(group))
