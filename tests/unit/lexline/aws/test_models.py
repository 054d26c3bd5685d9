from dataclasses import replace
from typing import Any

import pytest

from lexline.aws import models
from lexline.aws.stack import Stack
from lexline.core.errors import UsageError
from tests.unit.lexline.conftest import Stubs
from tests.unit.lexline.samples import ACCOUNT, MODELS, ONE, TWO, WHEN

GROUP = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/lexline/"
FIGURES = {
    "test_perplexity": "86.7",
    "test_unknown_share": "0.021",
    "champion_perplexity": "90.5",
    "challenger_perplexity": "88.25",
}
METADATA = {"run": TWO, "dataset": "sotu", "commit": "0123abc", "champion": ONE, **FIGURES}


def package(version: int, name: str) -> dict[str, Any]:
    arn = {"ModelPackageVersion": version, "ModelPackageArn": f"{GROUP}{version}"}
    return {**arn, "ModelPackageDescription": f"{name}: It is good: 86.7.", "CreationTime": WHEN}


def listed(stubs: Stubs, names: dict[int, str]) -> None:
    """The group's versions, newest first."""
    request = {"ModelPackageGroupName": "lexline", "SortBy": "CreationTime", "SortOrder": "Descending"}
    packages = [package(version, name) for version, name in names.items()]
    stubs.returns("sagemaker", "list_model_packages", request, ModelPackageSummaryList=packages)


def described(stubs: Stubs, version: int, name: str, approval: str = "Approved", **more: Any) -> None:
    response = {**package(version, name), "ModelApprovalStatus": approval, **more}
    request = {"ModelPackageName": f"{GROUP}{version}"}
    stubs.returns("sagemaker", "describe_model_package", request, **response)


def test_a_model_has_its_origins_and_its_comparison(stack: Stack, stubs: Stubs) -> None:
    listed(stubs, {2: TWO, 1: ONE})
    origin = {"Repository": "https://g/r", "CommitId": "0123abc"}
    described(stubs, 2, TWO, CustomerMetadataProperties=METADATA, MetadataProperties=origin)
    assert models.newest(stack, 1) == [
        models.Model(
            2, TWO, "sotu", WHEN, 86.7, 0.021, ONE, 90.5, 88.25, "Approved", "It is good: 86.7.", "https://g/r",
            "0123abc",
        )
    ]  # fmt: skip


def test_a_later_approval_replaces_the_gates_decision(stack: Stack, stubs: Stubs) -> None:
    listed(stubs, {1: ONE})
    described(stubs, 1, ONE, "Rejected", ApprovalDescription="SmokeTest failed.")
    (model,) = models.newest(stack, 5)
    assert (model.approved, model.reason) == (False, "SmokeTest failed.")
    # A first model is not compared with another, and the scripts need not come from Git.
    assert (model.champion, model.champion_perplexity, model.commit) == ("", None, "")


@pytest.mark.parametrize("wanted", ["1", ONE, "111111111111"])
def test_a_model_is_found_by_version_run_and_run_id(stack: Stack, stubs: Stubs, wanted: str) -> None:
    listed(stubs, {11: TWO, 1: ONE})
    described(stubs, 1, ONE)
    assert models.find(stack, wanted).version == 1


def test_an_unknown_model_says_how_to_list_them(stack: Stack, stubs: Stubs) -> None:
    listed(stubs, {1: ONE})
    with pytest.raises(UsageError, match="no model previous") as error:
        models.find(stack, "previous")
    assert "`lexline models`" in error.value.hint


def test_before_the_first_training_there_is_no_group_and_no_model(stack: Stack, stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error("list_model_packages", "ValidationException", "does not exist")
    assert models.newest(stack, 5) == []


def test_a_models_artifact_is_that_of_its_version(stack: Stack, stubs: Stubs) -> None:
    model = replace(MODELS[1], version=2)
    containers = [{"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}]
    types = {"SupportedContentTypes": ["application/json"], "SupportedResponseMIMETypes": []}
    listed(stubs, {3: ONE, 2: TWO})
    described(stubs, 2, TWO, InferenceSpecification={"Containers": containers, **types})
    assert models.artifact(stack, model) == "s3://bucket/model.tar.gz"
    listed(stubs, {3: ONE})
    with pytest.raises(UsageError, match="There is no model 2"):
        models.artifact(stack, model)
