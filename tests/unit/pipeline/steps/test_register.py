"""register: every trained model is registered with its origin, its metrics and the gate's verdict."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.registry import Registered
from contracts.request import Hyperparameters
from registry import identity, model_packages
from steps import register
from tests.unit.pipeline.documents import ENVIRONMENT, Document, Documents
from tests.unit.pipeline.stubbed_aws import StubbedAws

GIT = {"repo": "https://git.example.com/models.git", "branch": "main", "commit": "c0ffee1"}


class Registration(NamedTuple):
    """The arguments of `model_packages.register`."""

    group: str
    model: str
    summary: str
    metadata: dict[str, str]
    request: Document


@pytest.fixture
def handle(
    documents: Documents, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    monkeypatch.setattr(model_packages, "read", lambda of: Registered.model_validate(documents.registered))
    names = ("run", "prepared", "source", "trained", "evaluated")
    return lambda: register.handler(documents.input(*names), context)


@pytest.fixture
def registers(
    handle: Callable[[], Any], documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Registration]:
    """registers(): run the step, and return what the registry got."""

    def run() -> Registration:
        calls: list[Registration] = []

        def record(*each: Any) -> str:
            calls.append(Registration(*each))
            return str(documents.registered["arn"])

        monkeypatch.setattr(model_packages, "register", record)
        assert handle() == documents.registered
        return calls[0]

    return run


def test_the_version_is_named_after_the_run_and_can_be_deployed(
    documents: Documents, registers: Callable[[], Registration]
) -> None:
    registration = registers()
    assert (registration.group, registration.model) == ("lexline", documents.run["name"])
    assert registration.summary == documents.evaluated["reason"]
    (container,) = registration.request["InferenceSpecification"]["Containers"]
    artifacts = documents.trained["model_artifacts"]
    assert container == {"Image": ENVIRONMENT["HOSTING_IMAGE"], "ModelDataUrl": artifacts}


def test_the_metadata_says_how_the_model_was_made(
    documents: Documents, registers: Callable[[], Registration]
) -> None:
    metadata = registers().metadata
    hyperparameters = Hyperparameters.model_validate(documents.run["hyperparameters"])
    data, code = documents.prepared["fingerprint"], documents.source["sha256"]
    expected = {
        "run": documents.run["name"],
        "dataset": "sotu",
        "fingerprint": data,
        "code": code,
        "identity": identity.of(hyperparameters, data, code),
        "hyperparameters.epochs": "6",
        "hyperparameters.lr": "auto",
        "test_perplexity": "208.3",
        "champion_perplexity": "215.2",
        "challenger_perplexity": "208.3",
    }
    assert expected.items() <= metadata.items()
    assert {f"hyperparameters.{name}" for name in Hyperparameters.model_fields} <= metadata.keys()
    # CreateModelPackage allows 50 properties, all of them strings.
    assert len(metadata) <= 50
    assert all(isinstance(text, str) for text in metadata.values())


@pytest.mark.parametrize(("accepted", "status"), [(True, "Approved"), (False, "Rejected")])
def test_the_gates_verdict_is_the_approval_status(
    documents: Documents, registers: Callable[[], Registration], accepted: bool, status: str
) -> None:
    documents.evaluated["accepted"] = accepted
    assert registers().request["ModelApprovalStatus"] == status


@pytest.mark.parametrize(
    ("source", "origin"), [({}, {}), (GIT, {"CommitId": GIT["commit"], "Repository": GIT["repo"]})]
)
def test_the_origin_of_the_scripts_is_registered(
    documents: Documents, registers: Callable[[], Registration], source: Document, origin: Document
) -> None:
    documents.source |= source
    registration = registers()
    execution = documents.execution["id"]
    assert registration.request["MetadataProperties"] == {"GeneratedBy": execution, **origin}
    assert registration.metadata["commit"] == source.get("commit", "")


@pytest.mark.parametrize("comparable", [None, False])
def test_a_model_without_a_comparison_has_no_perplexities_of_one(
    documents: Documents, registers: Callable[[], Registration], comparable: bool | None
) -> None:
    no_figures = {"reason": "Few words.", "champion_perplexity": None, "challenger_perplexity": None}
    comparison = documents.evaluated["comparison"]
    documents.evaluated["comparison"] = None if comparable is None else comparison | no_figures
    metadata = registers().metadata
    assert (metadata["champion_perplexity"], metadata["challenger_perplexity"]) == ("", "")


def test_a_diverged_model_is_registered_too(
    documents: Documents, registers: Callable[[], Registration]
) -> None:
    documents.evaluated["metrics"]["test_perplexity"] = "Infinity"
    documents.evaluated["accepted"] = False
    assert registers().metadata["test_perplexity"] == "inf"


def test_boto3_accepts_the_request(
    stubbed: StubbedAws, documents: Documents, handle: Callable[[], Any]
) -> None:
    stubbed.answers("sagemaker", "list_model_packages", {"ModelPackageSummaryList": []})
    stubbed.answers("sagemaker", "create_model_package", {"ModelPackageArn": documents.registered["arn"]})
    documents.source |= GIT
    assert handle() == documents.registered
