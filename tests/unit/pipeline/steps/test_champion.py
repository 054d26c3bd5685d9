"""champion: the model that serves is what the new one has to match, and spares a training that would make it
again.
"""

from typing import Any

import pytest

from contracts.request import Hyperparameters
from core.errors import ServiceUnavailable, Unchanged
from registry import identity
from steps import champion

FORMER = "lexline--sotu-aaaaaaaaaaaa"
NOT_FOUND = ("ValidationException", 'Could not find endpoint "lexline".')


@pytest.fixture
def given(documents: Any) -> dict[str, Any]:
    return {"run": documents.run, "prepared": documents.prepared, "source": documents.source}


@pytest.fixture
def mine(documents: Any) -> str:
    """The identity of the model that the documents' run would train."""
    return identity.of(
        Hyperparameters.model_validate(documents.run["hyperparameters"]),
        documents.prepared["fingerprint"],
        documents.source["sha256"],
    )


@pytest.fixture
def serves(stubbed: Any, described: Any) -> Any:
    """serves(status, **tags): announce an endpoint with the former run's config, which has these tags."""

    def announce(status: str = "InService", **tags: str) -> None:
        stubbed.answers(
            "sagemaker",
            "describe_endpoint",
            described.endpoint(status, config=FORMER),
            EndpointName="lexline",
        )
        arn = f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{FORMER}"
        stubbed.answers("sagemaker", "list_tags", described.tags(**tags), ResourceArn=arn)

    return announce


def has_artifact(stubbed: Any, model: str = FORMER) -> None:
    stubbed.answers("s3", "head_object", {}, Bucket="texts", Key=f"runs/{model}/output/model.tar.gz")


def test_where_nothing_serves_there_is_nothing_to_match(stubbed: Any, given: Any, context: Any) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint", *NOT_FOUND)
    assert set(champion.handler(given, context).values()) == {None}


@pytest.mark.parametrize("status", ["Creating", "Failed", "OutOfService", "Deleting", "UpdateRollbackFailed"])
def test_an_endpoint_that_does_not_answer_is_nothing_to_match(
    stubbed: Any, described: Any, given: Any, context: Any, status: str
) -> None:
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint(status, config=FORMER))
    assert set(champion.handler(given, context).values()) == {None}


@pytest.mark.parametrize("status", ["InService", "Updating", "SystemUpdating", "RollingBack"])
def test_the_model_that_serves_is_told_with_its_data_and_its_artifact(
    stubbed: Any, documents: Any, given: Any, context: Any, serves: Any, status: str
) -> None:
    serves(status, model=FORMER, dataset="sotu", fingerprint="ef" * 32, identity="34" * 32)
    has_artifact(stubbed)
    assert champion.handler(given, context) == documents.champion


def test_a_registered_model_that_was_deployed_again_is_told_by_the_run_that_trained_it(
    stubbed: Any, given: Any, context: Any, serves: Any
) -> None:
    trained = "lexline--sotu-bbbbbbbbbbbb"
    serves(model=trained, dataset="sotu")
    has_artifact(stubbed, trained)
    told = champion.handler(given, context)
    assert (told["config"], told["model"]) == (FORMER, trained)
    assert told["artifact_prefix"] == f"s3://texts/runs/{trained}/output/model.tar.gz"


@pytest.mark.parametrize(("code", "status"), [("404", 404), ("403", 403), ("NoSuchKey", 404)])
def test_an_artifact_that_is_gone_is_not_given_to_the_job_which_would_fail_on_it(
    stubbed: Any, given: Any, context: Any, serves: Any, code: str, status: int
) -> None:
    serves(model=FORMER)
    stubbed.refuses("s3", "head_object", code, status=status)
    told = champion.handler(given, context)
    assert (told["model"], told["artifact_prefix"]) == (FORMER, None)


def test_an_artifact_that_cannot_be_looked_for_now_is_not_taken_for_gone(
    stubbed: Any, given: Any, context: Any, serves: Any
) -> None:
    serves(model=FORMER)
    stubbed.refuses("s3", "head_object", "503", status=503)
    with pytest.raises(ServiceUnavailable, match="HeadObject"):
        champion.handler(given, context)


def test_a_config_that_somebody_else_made_is_told_by_its_name_alone(
    stubbed: Any, given: Any, context: Any, serves: Any
) -> None:
    serves()
    assert champion.handler(given, context) == {
        "config": FORMER,
        "model": None,
        "dataset": None,
        "fingerprint": None,
        "artifact_prefix": None,
    }


def test_a_model_of_the_same_data_scripts_and_hyperparameters_is_not_trained_again(
    stubbed: Any, given: Any, context: Any, serves: Any, mine: str
) -> None:
    serves(model=FORMER, identity=mine, verified="2026-03-01T12:00:00+00:00")
    with pytest.raises(
        Unchanged, match=rf"are those of {FORMER}, which endpoint lexline serves.*force.*true"
    ):
        champion.handler(given, context)


@pytest.mark.parametrize("why", ["force", "other identity", "never verified", "no identity"])
def test_it_is_trained_again_where_that_is_asked_for_or_the_model_has_not_shown_itself(
    stubbed: Any, documents: Any, given: Any, context: Any, serves: Any, mine: str, why: str
) -> None:
    documents.run["force"] = why == "force"
    identities = {"no identity": {}, "other identity": {"identity": "34" * 32}}
    verified = {} if why == "never verified" else {"verified": "2026-03-01T12:00:00+00:00"}
    serves(model=FORMER, **identities.get(why, {"identity": mine}), **verified)
    has_artifact(stubbed)
    assert champion.handler(given, context)["model"] == FORMER
