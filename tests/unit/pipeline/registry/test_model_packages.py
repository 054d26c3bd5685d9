"""model_packages: every trained model is one version, found by its run's name or its number."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from core.errors import ModelNotFound, NotOwned
from registry import model_packages
from tests.unit.pipeline.documents import NAME, OTHER, OTHER_STACK_ID, SAGEMAKER, STACK_ID, Documents
from tests.unit.pipeline.stubbed_aws import AT, Owners, StubbedAws, tag_list

ARN = f"{SAGEMAKER}:model-package/lexline/3"
NO_GROUP = ("ValidationException", "ModelPackageGroup lexline does not exist.")


def summary(version: int = 3, model: str = NAME) -> dict[str, Any]:
    return {
        "ModelPackageName": f"lexline/{version}",
        "ModelPackageGroupName": "lexline",
        "ModelPackageVersion": version,
        "ModelPackageArn": ARN.removesuffix("3") + str(version),
        "ModelPackageDescription": f"{model}: Test perplexity 208.30 over 33,278 words.",
        "CreationTime": AT,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
    }


def package(**metadata: str | None) -> dict[str, Any]:
    """Return DescribeModelPackage's response for the documents' model, with other metadata."""
    documents = Documents()
    values = {
        "run": NAME,
        "dataset": "sotu",
        "fingerprint": documents.registered["fingerprint"],
        "identity": documents.registered["identity"],
        "test_perplexity": "208.3",
        "test_unknown_share": "0.021",
        **metadata,
    }
    containers = [{"Image": "image", "ModelDataUrl": documents.trained["model_artifacts"]}]
    return {
        **summary(),
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "InferenceSpecification": {"Containers": containers},
        "CustomerMetadataProperties": {name: text for name, text in values.items() if text is not None},
    }


def lists(stubbed: StubbedAws, *found: dict[str, Any], more: bool = False) -> None:
    response = {"ModelPackageSummaryList": list(found), **({"NextToken": "next"} if more else {})}
    stubbed.answers("sagemaker", "list_model_packages", response)


def describes(stubbed: StubbedAws, response: dict[str, Any]) -> None:
    stubbed.answers("sagemaker", "describe_model_package", response, ModelPackageName=ARN)


def creates(stubbed: StubbedAws) -> None:
    stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": ARN})


def register(summary: str = "Test perplexity 208.30.", **metadata: str) -> str:
    request: Any = {"ModelApprovalStatus": "Approved"}
    return model_packages.register("lexline", NAME, summary, metadata, request)


# --- registering


def test_a_model_becomes_a_version_in_the_endpoints_group(stubbed: StubbedAws) -> None:
    lists(stubbed)
    creates(stubbed)
    assert register(run=NAME, commit="") == ARN
    sent = stubbed.parameters["CreateModelPackage"]
    assert sent["ModelPackageGroupName"] == "lexline"
    assert sent["ModelPackageDescription"] == f"{NAME}: Test perplexity 208.30."
    assert sent["ModelApprovalStatus"] == "Approved"
    assert sent["CustomerMetadataProperties"] == {"run": NAME}


@pytest.mark.parametrize("by_another_run", [False, True])
def test_the_group_is_created_before_the_first_version(
    stubbed: StubbedAws, owners: Owners, by_another_run: bool
) -> None:
    owners.lack("model-package-group/lexline")
    operation = ("sagemaker", "create_model_package_group")
    if by_another_run:
        stubbed.refuses(*operation, "ValidationException", "Model Package Group already exists")
    else:
        stubbed.answers(
            *operation,
            {"ModelPackageGroupArn": f"{SAGEMAKER}:model-package-group/lexline"},
            ModelPackageGroupName="lexline",
            ModelPackageGroupDescription="Language models trained by Lexline.",
            Tags=tag_list(stack=STACK_ID),
        )
    lists(stubbed)
    creates(stubbed)
    assert register() == ARN


def test_nothing_is_registered_in_a_group_that_another_stack_creates_at_the_same_moment(
    stubbed: StubbedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags: list[dict[str, str] | None] = [None, {"lexline:stack": OTHER_STACK_ID}]
    monkeypatch.setattr(model_packages.ownership, "read", lambda arn: {arn: tags.pop(0)})
    stubbed.refuses("sagemaker", "create_model_package_group", "ValidationException", "It already exists")
    with pytest.raises(NotOwned, match="belongs to the stack lexline-two"):
        register()


@pytest.mark.parametrize("stack", [OTHER_STACK_ID, None])
def test_nothing_is_registered_or_found_in_a_group_that_is_not_the_stacks(
    stubbed: StubbedAws, owners: Owners, stack: str | None
) -> None:
    owners.belongs_to("model-package-group/lexline", stack)
    with pytest.raises(NotOwned):
        register()
    with pytest.raises(NotOwned):
        model_packages.find("lexline", NAME)
    assert stubbed.calls == []


@pytest.mark.parametrize("others", [0, 2])
def test_a_registered_model_is_not_registered_again(stubbed: StubbedAws, others: int) -> None:
    lists(stubbed, *[summary(9 - number, f"lexline--sotu-{number}") for number in range(others)], more=True)
    lists(stubbed, summary())
    assert register() == ARN
    assert "CreateModelPackage" not in stubbed.calls


def test_two_simultaneous_attempts_have_the_same_client_token(stubbed: StubbedAws) -> None:
    tokens = set()
    for _ in range(2):
        lists(stubbed)
        creates(stubbed)
        register()
        tokens.add(stubbed.parameters["CreateModelPackage"]["ClientToken"])
    (token,) = tokens
    assert 1 <= len(token) <= 36


def test_metadata_is_brought_within_sagemakers_limits(stubbed: StubbedAws) -> None:
    lists(stubbed)
    creates(stubbed)
    register("word " * 1000, name="Träume & <Texte>, \n(2026) a_b.c:/=+-@", long="x" * 5000)
    sent = stubbed.parameters["CreateModelPackage"]
    assert sent["CustomerMetadataProperties"] == {
        "name": "Träume _ _Texte__ __2026_ a_b.c:/=+-@",
        "long": "x" * 256,
    }
    assert len(sent["ModelPackageDescription"]) == 1024


def test_other_errors_are_raised(stubbed: StubbedAws) -> None:
    lists(stubbed)
    stubbed.refuses("sagemaker", "create_model_package", "ResourceLimitExceeded", "too many")
    with pytest.raises(ClientError, match="too many"):
        register()


# --- reading


def test_a_registered_model_is_read_from_its_version(stubbed: StubbedAws, documents: Documents) -> None:
    describes(stubbed, package())
    assert json.loads(model_packages.read(ARN).model_dump_json()) == documents.registered


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_only_an_approved_version_is_approved(stubbed: StubbedAws, status: str) -> None:
    describes(stubbed, {**package(), "ModelApprovalStatus": status})
    assert model_packages.read(ARN).approved is False


@pytest.mark.parametrize(("text", "value"), [("Infinity", float("inf")), ("inf", float("inf")), (None, None)])
def test_a_perplexity_may_be_infinite_or_missing(
    stubbed: StubbedAws, text: str | None, value: float | None
) -> None:
    describes(stubbed, package(test_perplexity=text))
    assert model_packages.read(ARN).test_perplexity == value


@pytest.mark.parametrize("name", [NAME, "3"])
def test_a_model_is_found_by_its_runs_name_or_its_version(stubbed: StubbedAws, name: str) -> None:
    lists(stubbed, summary(5, OTHER), summary(4, f"{NAME}-longer"), more=True)
    lists(stubbed, summary())
    describes(stubbed, package())
    assert model_packages.find("lexline", name).version == 3


@pytest.mark.parametrize("name", [OTHER, "4", "lexline"])
def test_an_unknown_model_is_not_found(stubbed: StubbedAws, name: str) -> None:
    lists(stubbed, summary())
    with pytest.raises(ModelNotFound, match=rf"No model {name} is registered in lexline\. `lexline models`"):
        model_packages.find("lexline", name)


def test_no_model_is_found_before_the_group_exists(stubbed: StubbedAws) -> None:
    stubbed.refuses("sagemaker", "list_model_packages", *NO_GROUP)
    with pytest.raises(ModelNotFound):
        model_packages.find("lexline", NAME)


@pytest.mark.parametrize(
    "change", [{"run": None}, {"run": "Somebody's"}, {"test_perplexity": "good"}, "no artifact"]
)
def test_a_version_that_no_run_registered_cannot_be_deployed(stubbed: StubbedAws, change: Any) -> None:
    response = package(**change) if isinstance(change, dict) else package()
    if change == "no artifact":
        del response["InferenceSpecification"]
    lists(stubbed, {**summary(), "ModelPackageDescription": "mine"})
    describes(stubbed, response)
    with pytest.raises(ModelNotFound, match=f"{ARN} was not registered by a run"):
        model_packages.find("lexline", "3")


# --- rejecting


def test_a_rejected_model_has_the_reason_as_one_line(stubbed: StubbedAws) -> None:
    stubbed.answers(
        "sagemaker",
        "update_model_package",
        {"ModelPackageArn": ARN},
        ModelPackageArn=ARN,
        ModelApprovalStatus="Rejected",
        ApprovalDescription="SmokeTest failed with SmokeTestFailed.",
    )
    model_packages.reject(ARN, "SmokeTest failed\n with SmokeTestFailed.")
    assert len(model_packages.one_line("x" * 5000)) == 1024
