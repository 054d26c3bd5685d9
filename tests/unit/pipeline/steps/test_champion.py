"""champion: the model that serves is compared with the new one, and may make its training unnecessary."""

from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.request import Hyperparameters
from core.errors import Misconfigured, NotOwned, ServiceUnavailable, Unchanged
from registry import identity
from steps import champion
from tests.unit.pipeline.documents import FORMER, OTHER_STACK_ID, Document, Documents
from tests.unit.pipeline.stubbed_aws import ExpectedCalls, Owners, StubbedAws

VERIFIED = "2026-03-01T12:00:00+00:00"
Finds = Callable[[], Document]


@pytest.fixture
def finds(documents: Documents, context: LambdaContext) -> Finds:
    return lambda: champion.handler(documents.input("run", "prepared", "source"), context)


@pytest.fixture
def own_identity(documents: Documents) -> str:
    """The identity of the model that the documents' run would train."""
    hyperparameters = Hyperparameters.model_validate(documents.run["hyperparameters"])
    return identity.of(hyperparameters, documents.prepared["fingerprint"], documents.source["sha256"])


def serves(expect: ExpectedCalls, status: str = "InService", **tags: str) -> None:
    expect.describe_endpoint(status, FORMER)
    expect.list_tags(FORMER, **tags)


def has_artifact(stubbed: StubbedAws, model: str = FORMER) -> None:
    stubbed.answers("s3", "head_object", {}, Bucket="texts", Key=f"runs/{model}/output/model.tar.gz")


@pytest.mark.parametrize(
    "status", [None, "Creating", "Failed", "OutOfService", "Deleting", "UpdateRollbackFailed"]
)
def test_there_is_no_champion_if_no_endpoint_responds(
    expect: ExpectedCalls, finds: Finds, status: str | None
) -> None:
    if status:
        serves(expect, status)
    else:
        expect.no_endpoint()
    assert set(finds().values()) == {None}


@pytest.mark.parametrize("status", ["InService", "Updating", "SystemUpdating", "RollingBack"])
def test_the_champion_is_the_model_that_serves_with_its_data_and_artifact(
    expect: ExpectedCalls, finds: Finds, documents: Documents, status: str
) -> None:
    serves(expect, status, model=FORMER, dataset="sotu", fingerprint="ef" * 32, identity="34" * 32)
    has_artifact(expect.stubbed)
    assert finds() == documents.champion


def test_a_registered_model_is_known_by_the_run_that_trained_it(expect: ExpectedCalls, finds: Finds) -> None:
    trained = "lexline--sotu-bbbbbbbbbbbb"
    serves(expect, model=trained, dataset="sotu")
    has_artifact(expect.stubbed, trained)
    found = finds()
    assert (found["config"], found["model"]) == (FORMER, trained)
    assert found["artifact_prefix"] == f"s3://texts/runs/{trained}/output/model.tar.gz"


@pytest.mark.parametrize(("code", "status"), [("404", 404), ("403", 403), ("NoSuchKey", 404)])
def test_an_artifact_that_does_not_exist_is_not_given_to_the_training_job(
    expect: ExpectedCalls, finds: Finds, code: str, status: int
) -> None:
    """The job would fail on a channel without objects."""
    serves(expect, model=FORMER)
    expect.stubbed.refuses("s3", "head_object", code, status=status)
    found = finds()
    assert (found["model"], found["artifact_prefix"]) == (FORMER, None)


def test_an_artifact_that_cannot_be_looked_up_now_is_retried(expect: ExpectedCalls, finds: Finds) -> None:
    serves(expect, model=FORMER)
    expect.stubbed.refuses("s3", "head_object", "503", status=503)
    with pytest.raises(ServiceUnavailable, match="HeadObject"):
        finds()


def test_a_config_without_tags_is_known_by_its_name_alone(
    expect: ExpectedCalls, finds: Finds, documents: Documents
) -> None:
    serves(expect)
    assert finds() == {**dict.fromkeys(documents.champion), "config": FORMER}


def test_an_endpoint_that_no_run_created_is_refused_before_training(
    expect: ExpectedCalls, finds: Finds
) -> None:
    expect.describe_endpoint(config="lexline-foo")
    with pytest.raises(Misconfigured, match="lexline-foo"):
        finds()


@pytest.mark.parametrize("status", ["InService", "Failed", "Creating"])
@pytest.mark.parametrize("stack", [OTHER_STACK_ID, ""])
def test_another_stacks_model_is_no_champion_and_stops_the_run_before_training(
    expect: ExpectedCalls, finds: Finds, owners: Owners, status: str, stack: str
) -> None:
    """Without a champion, the gate would accept any model."""
    owners.belongs_to("endpoint/lexline", stack)
    serves(expect, status, model=FORMER, dataset="sotu", stack=stack)
    with pytest.raises(NotOwned, match=rf"endpoint/lexline belongs.*endpoint-config/{FORMER} belongs"):
        finds()


def test_the_same_model_is_not_trained_again(expect: ExpectedCalls, finds: Finds, own_identity: str) -> None:
    serves(expect, model=FORMER, identity=own_identity, verified=VERIFIED)
    with pytest.raises(Unchanged, match=rf"already serves {FORMER}.*force.*true"):
        finds()


@pytest.mark.parametrize("reason", ["force", "other identity", "never verified", "no identity"])
def test_the_model_is_trained_again_for_a_reason(
    expect: ExpectedCalls, finds: Finds, documents: Documents, own_identity: str, reason: str
) -> None:
    documents.run["force"] = reason == "force"
    identities = {"no identity": {}, "other identity": {"identity": "34" * 32}}
    verified = {} if reason == "never verified" else {"verified": VERIFIED}
    serves(expect, model=FORMER, **identities.get(reason, {"identity": own_identity}), **verified)
    has_artifact(expect.stubbed)
    assert finds()["model"] == FORMER
