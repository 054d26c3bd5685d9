"""register: each trained model is registered with what it is made of and how good it is, taken or refused."""

from typing import Any

import pytest

from contracts.registry import Registered
from contracts.request import Hyperparameters
from registry import identity, model_packages
from steps import register

FIELDS = ("run", "prepared", "source", "trained", "evaluated")


@pytest.fixture
def registers(monkeypatch: pytest.MonkeyPatch, documents: Any) -> list[Any]:
    """What the registry was given: group, model, summary, metadata and request."""
    asked: list[Any] = []
    arn = documents.registered["arn"]
    monkeypatch.setattr(model_packages, "register", lambda *told: asked.append(told) or arn)
    monkeypatch.setattr(model_packages, "read", lambda of: Registered.model_validate(documents.registered))
    return asked


def registered(documents: Any, context: Any) -> Any:
    return register.handler({name: getattr(documents, name) for name in FIELDS}, context)


def test_the_answer_is_the_version_as_it_is_registered(
    documents: Any, context: Any, registers: list[Any]
) -> None:
    assert registered(documents, context) == documents.registered
    group, model, summary, _, _ = registers[0]
    assert (group, model) == ("lexline", documents.run["name"])
    assert summary == documents.evaluated["reason"]


def test_everything_that_made_the_model_is_told(documents: Any, context: Any, registers: list[Any]) -> None:
    registered(documents, context)
    metadata = registers[0][3]
    assert metadata["run"] == documents.run["name"]
    assert metadata["dataset"] == "sotu"
    assert metadata["fingerprint"] == documents.prepared["fingerprint"]
    assert metadata["code"] == documents.source["sha256"]
    assert metadata["identity"] == identity.of(
        Hyperparameters.model_validate(documents.run["hyperparameters"]),
        documents.prepared["fingerprint"],
        documents.source["sha256"],
    )
    assert metadata["hyperparameters.epochs"] == "6"
    assert metadata["hyperparameters.lr"] == "auto"
    assert {f"hyperparameters.{name}" for name in Hyperparameters.model_fields} <= metadata.keys()
    assert metadata["test_perplexity"] == "208.3"
    assert (metadata["champion_perplexity"], metadata["challenger_perplexity"]) == ("215.2", "208.3")
    # CreateModelPackage's limits: 50 properties, each of a name and a text.
    assert len(metadata) <= 50
    assert all(isinstance(text, str) for text in metadata.values())


@pytest.mark.parametrize(("accepted", "status"), [(True, "Approved"), (False, "Rejected")])
def test_a_model_that_was_refused_is_registered_as_refused(
    documents: Any, context: Any, registers: list[Any], accepted: bool, status: str
) -> None:
    documents.evaluated["accepted"] = accepted
    registered(documents, context)
    assert registers[0][4]["ModelApprovalStatus"] == status


def test_the_version_can_be_deployed_as_it_is(
    documents: Any, context: Any, registers: list[Any], variables: Any
) -> None:
    registered(documents, context)
    (container,) = registers[0][4]["InferenceSpecification"]["Containers"]
    assert container == {
        "Image": variables["HOSTING_IMAGE_CPU"],
        "ModelDataUrl": documents.trained["model_artifacts"],
    }


def test_the_repository_and_the_commit_are_told_where_the_scripts_have_them(
    documents: Any, context: Any, registers: list[Any]
) -> None:
    registered(documents, context)
    assert registers[0][4]["MetadataProperties"] == {"GeneratedBy": documents.execution["id"]}
    documents.source |= {"repo": "https://git.example.com/models.git", "branch": "main", "commit": "c0ffee1"}
    registered(documents, context)
    assert registers[1][4]["MetadataProperties"] == {
        "GeneratedBy": documents.execution["id"],
        "CommitId": "c0ffee1",
        "Repository": "https://git.example.com/models.git",
    }
    assert registers[1][3]["commit"] == "c0ffee1"


@pytest.mark.parametrize("comparison", [None, "not comparable"])
def test_a_model_that_was_not_compared_has_no_figures_of_a_comparison(
    documents: Any, context: Any, registers: list[Any], comparison: Any
) -> None:
    if comparison:
        comparison = {**documents.evaluated["comparison"], "reason": "They share too few words."}
        comparison |= {"champion_perplexity": None, "challenger_perplexity": None}
    documents.evaluated["comparison"] = comparison
    registered(documents, context)
    metadata = registers[0][3]
    assert (metadata["champion_perplexity"], metadata["challenger_perplexity"]) == ("", "")


def test_a_model_whose_training_diverged_is_registered_none_the_less(
    documents: Any, context: Any, registers: list[Any]
) -> None:
    documents.evaluated["metrics"]["test_perplexity"] = "Infinity"
    documents.evaluated["accepted"] = False
    registered(documents, context)
    assert registers[0][3]["test_perplexity"] == "inf"


def test_boto3_takes_the_request(stubbed: Any, documents: Any, context: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(model_packages, "read", lambda of: Registered.model_validate(documents.registered))
    stubbed.answers("sagemaker", "list_model_packages", {"ModelPackageSummaryList": []})
    stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": documents.registered["arn"]})
    documents.source |= {"repo": "https://git.example.com/models.git", "branch": "main", "commit": "c0ffee1"}
    assert registered(documents, context) == documents.registered
