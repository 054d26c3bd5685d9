from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from lexline import registry
from lexline.errors import UsageError
from lexline.target import Stack, Target

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, tzinfo=UTC)
ONE, TWO = "lexline-sotu-111111111111", "lexline-sotu-222222222222"
GROUP = "arn:aws:sagemaker:us-east-1:123456789012:model-package/lexline/"
METADATA = {
    "run": TWO,
    "dataset": "sotu",
    "commit": "0123abc",
    "champion": ONE,
    "test_perplexity": "86.7",
    "champion_perplexity": "90.5",
    "challenger_perplexity": "88.25",
}


def listed(sagemaker: Stubber, names: dict[int, str]) -> None:
    """The group's versions, newest first."""
    packages = [
        {
            "ModelPackageGroupName": "lexline",
            "ModelPackageVersion": version,
            "ModelPackageArn": f"{GROUP}{version}",
            "ModelPackageDescription": f"{name}: Good.",
            "CreationTime": WHEN,
            "ModelPackageStatus": "Completed",
        }
        for version, name in names.items()
    ]
    sagemaker.add_response(
        "list_model_packages",
        {"ModelPackageSummaryList": packages},
        {"ModelPackageGroupName": "lexline", "SortBy": "CreationTime", "SortOrder": "Descending"},
    )


def described(sagemaker: Stubber, version: int, name: str, **more: Any) -> None:
    sagemaker.add_response(
        "describe_model_package",
        {
            "ModelPackageName": "lexline",
            "ModelPackageVersion": version,
            "ModelPackageArn": f"{GROUP}{version}",
            "ModelPackageDescription": f"{name}: It is good: 86.7.",
            "CreationTime": WHEN,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "ModelApprovalStatus": "Approved",
            **more,
        },
        {"ModelPackageName": f"{GROUP}{version}"},
    )


def test_a_model_is_read_with_what_it_is_made_of_and_how_it_compared(
    target: Target, stack: Stack, stub: Stub
) -> None:
    sagemaker = stub(target.sagemaker)
    listed(sagemaker, {2: TWO, 1: ONE})
    made_of = {"Repository": "https://g/r", "CommitId": "0123abc"}
    described(sagemaker, 2, TWO, CustomerMetadataProperties=METADATA, MetadataProperties=made_of)
    (model,) = registry.newest(target, stack, 1)
    assert (model.version, model.name, model.dataset, model.trained) == (2, TWO, "sotu", WHEN)
    assert (model.champion, model.champion_perplexity, model.challenger_perplexity) == (ONE, 90.5, 88.25)
    assert (model.test_perplexity, model.repository, model.commit) == (86.7, "https://g/r", "0123abc")
    assert (model.approved, model.reason) == (True, "It is good: 86.7.")


def test_what_was_said_of_a_model_later_outweighs_what_the_gate_said(
    target: Target, stack: Stack, stub: Stub
) -> None:
    sagemaker = stub(target.sagemaker)
    listed(sagemaker, {1: ONE})
    said = {"ModelApprovalStatus": "Rejected", "ApprovalDescription": "SmokeTest failed."}
    described(sagemaker, 1, ONE, **said)
    (model,) = registry.newest(target, stack, 5)
    assert (model.approved, model.reason) == (False, "SmokeTest failed.")
    # A first model has nothing to be compared with, and not every one comes from Git.
    assert (model.champion, model.champion_perplexity, model.commit) == ("", None, "")


@pytest.mark.parametrize("wanted", ["1", ONE, "111111111111"])
def test_a_model_is_found_by_version_run_and_run_id(
    target: Target, stack: Stack, stub: Stub, wanted: str
) -> None:
    sagemaker = stub(target.sagemaker)
    listed(sagemaker, {11: TWO, 1: ONE})
    described(sagemaker, 1, ONE)
    assert registry.find(target, stack, wanted).version == 1


def test_an_unknown_model_says_where_they_are_listed(target: Target, stack: Stack, stub: Stub) -> None:
    listed(stub(target.sagemaker), {1: ONE})
    with pytest.raises(UsageError, match="no model previous") as refusal:
        registry.find(target, stack, "previous")
    assert "`lexline models`" in refusal.value.hint


def test_before_the_first_training_there_is_no_group_and_no_model(
    target: Target, stack: Stack, stub: Stub
) -> None:
    stub(target.sagemaker).add_client_error("list_model_packages", "ValidationException", "does not exist")
    assert registry.newest(target, stack, 5) == []
