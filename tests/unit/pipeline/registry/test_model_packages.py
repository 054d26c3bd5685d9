"""registry: every trained model is a version, made once, that is found again by its run or its number."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from core.errors import ModelNotFound
from registry import model_packages

NAME = "lexline--sotu-0123456789ab"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/lexline/3"
NO_GROUP = ("ValidationException", "ModelPackageGroup lexline does not exist.")


def summary(version: int = 3, model: str = NAME) -> dict[str, Any]:
    return {
        "ModelPackageName": f"lexline/{version}",
        "ModelPackageGroupName": "lexline",
        "ModelPackageVersion": version,
        "ModelPackageArn": ARN.removesuffix("3") + str(version),
        "ModelPackageDescription": f"{model}: Test perplexity 208.30 over 33,278 words.",
        "CreationTime": datetime(2026, 3, 1, tzinfo=UTC),
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
    }


def package(documents: Any, **metadata: str | None) -> dict[str, Any]:
    """DescribeModelPackage's answer for the documents' registered model, with other metadata."""
    told = {
        "run": NAME,
        "dataset": "sotu",
        "fingerprint": documents.registered["fingerprint"],
        "identity": documents.registered["identity"],
        "test_perplexity": "208.3",
        **metadata,
    }
    return {
        **summary(),
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "InferenceSpecification": {
            "Containers": [{"Image": "image", "ModelDataUrl": documents.trained["model_artifacts"]}],
        },
        "CustomerMetadataProperties": {name: text for name, text in told.items() if text is not None},
    }


def lists(stubbed: Any, *found: dict[str, Any], more: str = "") -> None:
    stubbed.answers(
        "sagemaker",
        "list_model_packages",
        {"ModelPackageSummaryList": list(found), **({"NextToken": more} if more else {})},
    )


def register(summary: str = "Test perplexity 208.30.", **metadata: str) -> str:
    request: Any = {"ModelApprovalStatus": "Approved"}
    return model_packages.register("lexline", NAME, summary, metadata, request)


# --- registering


def test_a_model_is_registered_as_a_version_of_the_endpoints_group(stubbed: Any) -> None:
    lists(stubbed)
    stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": ARN})
    assert register(run=NAME, commit="") == ARN
    sent = stubbed.parameters["CreateModelPackage"]
    assert sent["ModelPackageGroupName"] == "lexline"
    assert sent["ModelPackageDescription"] == f"{NAME}: Test perplexity 208.30."
    assert sent["ModelApprovalStatus"] == "Approved"
    # What is not known is not said.
    assert sent["CustomerMetadataProperties"] == {"run": NAME}


def test_the_group_is_made_when_it_is_first_needed(stubbed: Any) -> None:
    stubbed.refuses("sagemaker", "list_model_packages", *NO_GROUP)
    stubbed.refuses("sagemaker", "create_model_package", *NO_GROUP)
    stubbed.answers(
        "sagemaker",
        "create_model_package_group",
        {"ModelPackageGroupArn": "arn:aws:sagemaker:eu-west-1:111122223333:model-package-group/lexline"},
        ModelPackageGroupName="lexline",
        ModelPackageGroupDescription="Language models trained by Lexline.",
    )
    stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": ARN})
    assert register() == ARN


def test_a_group_that_another_run_has_just_made_is_taken(stubbed: Any) -> None:
    lists(stubbed)
    stubbed.refuses("sagemaker", "create_model_package", *NO_GROUP)
    stubbed.refuses(
        "sagemaker", "create_model_package_group", "ValidationException", "Model Package Group already exists"
    )
    stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": ARN})
    assert register() == ARN


@pytest.mark.parametrize("others", [0, 2])
def test_a_model_that_was_registered_before_is_not_registered_again(stubbed: Any, others: int) -> None:
    newer = [summary(9 - number, f"lexline-sotu-{number}") for number in range(others)]
    lists(stubbed, *newer, more="next")
    lists(stubbed, summary())
    assert register() == ARN
    assert "CreateModelPackage" not in stubbed.calls


def test_two_attempts_at_once_ask_for_the_same(stubbed: Any) -> None:
    tokens = []
    for _ in range(2):
        lists(stubbed)
        stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": ARN})
        register()
        tokens.append(stubbed.parameters["CreateModelPackage"]["ClientToken"])
    assert tokens[0] == tokens[1]
    assert 1 <= len(tokens[0]) <= 36


def test_what_metadata_may_not_hold_is_replaced_and_what_is_too_long_is_cut(stubbed: Any) -> None:
    lists(stubbed)
    stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": ARN})
    register("word " * 1000, name="Träume & <Texte>, \n(2026) a_b.c:/=+-@", long="x" * 5000)
    sent = stubbed.parameters["CreateModelPackage"]
    assert sent["CustomerMetadataProperties"] == {
        "name": "Träume _ _Texte__ __2026_ a_b.c:/=+-@",
        "long": "x" * 256,
    }
    assert len(sent["ModelPackageDescription"]) == 1024


def test_what_sagemaker_refuses_for_another_reason_is_an_error(stubbed: Any) -> None:
    lists(stubbed)
    stubbed.refuses("sagemaker", "create_model_package", "ResourceLimitExceeded", "too many")
    with pytest.raises(ClientError, match="too many"):
        register()


# --- finding


def test_a_registered_model_tells_what_it_is(stubbed: Any, documents: Any) -> None:
    stubbed.answers("sagemaker", "describe_model_package", package(documents), ModelPackageName=ARN)
    assert json.loads(model_packages.read(ARN).model_dump_json()) == documents.registered


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_a_model_that_nobody_approved_is_not_approved(stubbed: Any, documents: Any, status: str) -> None:
    stubbed.answers(
        "sagemaker", "describe_model_package", {**package(documents), "ModelApprovalStatus": status}
    )
    assert model_packages.read(ARN).approved is False


@pytest.mark.parametrize(("told", "meant"), [("Infinity", float("inf")), ("inf", float("inf")), (None, None)])
def test_a_perplexity_of_any_kind_is_read(
    stubbed: Any, documents: Any, told: str | None, meant: float | None
) -> None:
    stubbed.answers("sagemaker", "describe_model_package", package(documents, test_perplexity=told))
    assert model_packages.read(ARN).test_perplexity == meant


@pytest.mark.parametrize("wanted", [NAME, "3"])
def test_a_model_is_found_by_the_run_that_trained_it_and_by_its_version(
    stubbed: Any, documents: Any, wanted: str
) -> None:
    lists(stubbed, summary(5, "lexline-sotu-5"), summary(4, f"{NAME}-longer"), more="next")
    lists(stubbed, summary())
    stubbed.answers("sagemaker", "describe_model_package", package(documents), ModelPackageName=ARN)
    assert model_packages.find("lexline", wanted).version == 3


@pytest.mark.parametrize("wanted", ["lexline--sotu-ffffffffffff", "4", "lexline"])
def test_a_model_that_is_not_there_is_not_found(stubbed: Any, wanted: str) -> None:
    lists(stubbed, summary())
    with pytest.raises(
        ModelNotFound, match=rf"No model {wanted} is registered in lexline\. `lexline models`"
    ):
        model_packages.find("lexline", wanted)


def test_before_the_first_model_there_is_none(stubbed: Any) -> None:
    stubbed.refuses("sagemaker", "list_model_packages", *NO_GROUP)
    with pytest.raises(ModelNotFound):
        model_packages.find("lexline", NAME)


@pytest.mark.parametrize("metadata", [{"run": None}, {"run": "Somebody's"}, {"test_perplexity": "good"}])
def test_a_version_that_somebody_registered_by_hand_is_no_model_to_deploy(
    stubbed: Any, documents: Any, metadata: dict[str, Any]
) -> None:
    lists(stubbed, {**summary(), "ModelPackageDescription": "mine"})
    stubbed.answers("sagemaker", "describe_model_package", package(documents, **metadata))
    with pytest.raises(ModelNotFound, match=f"{ARN} was not registered by a run"):
        model_packages.find("lexline", "3")


def test_a_version_without_an_artifact_is_no_model_to_deploy(stubbed: Any, documents: Any) -> None:
    without = package(documents)
    del without["InferenceSpecification"]
    stubbed.answers("sagemaker", "describe_model_package", without)
    with pytest.raises(ModelNotFound, match="was not registered by a run"):
        model_packages.read(ARN)


# --- refusing


def test_a_model_that_failed_is_refused_with_a_sentence(stubbed: Any) -> None:
    stubbed.answers(
        "sagemaker",
        "update_model_package",
        {"ModelPackageArn": ARN},
        ModelPackageArn=ARN,
        ModelApprovalStatus="Rejected",
        ApprovalDescription="SmokeTest failed with SmokeTestFailed.",
    )
    model_packages.reject(ARN, "SmokeTest failed\n with SmokeTestFailed.")


def test_a_description_is_one_line_of_at_most_1024_characters() -> None:
    assert model_packages.described(" a\n\tb  c ") == "a b c"
    assert len(model_packages.described("x" * 5000)) == 1024
