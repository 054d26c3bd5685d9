"""endpoint: what SageMaker says of the endpoint means one thing, and what is gone is no error."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cleanup import resources
from contracts.run import Run
from contracts.serving import Deployed
from core.errors import EndpointBusy, EndpointFailed, InvalidInput, Misconfigured, UpdateReverted
from serving import endpoint, tags

NAME = "lexline--sotu-0123456789ab"
FORMER = "lexline--sotu-aaaaaaaaaaaa"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/lexline"
SERVERLESS = [
    {
        "VariantName": "AllTraffic",
        "CurrentServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5},
    }
]


@pytest.fixture
def run(documents: Any) -> Any:
    """run(...): the documents' run, with these fields of its hosting."""

    def made(**hosting: Any) -> Run:
        documents.run["hosting"].update(hosting)
        return Run.model_validate(documents.run)

    return made


def test_an_endpoint_in_service_with_the_config_is_deployed(described: Any) -> None:
    variants = [{"VariantName": "AllTraffic", "CurrentInstanceCount": 3}]
    assert endpoint.outcome(described.endpoint(ProductionVariants=variants), NAME) == Deployed(
        endpoint="lexline", arn=ARN, config=NAME, instance_count=3
    )


def test_a_serverless_endpoint_has_no_instances(described: Any) -> None:
    deployed = endpoint.outcome(described.endpoint(ProductionVariants=SERVERLESS), NAME)
    assert isinstance(deployed, Deployed)
    assert deployed.instance_count == 0


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_a_change_under_way_is_no_outcome_yet(described: Any, status: str) -> None:
    assert endpoint.outcome(described.endpoint(status), NAME) is None


@pytest.mark.parametrize("status", ["Failed", "UpdateRollbackFailed", "OutOfService"])
def test_a_broken_endpoint_fails_with_sagemakers_reason(described: Any, status: str) -> None:
    outcome = endpoint.outcome(described.endpoint(status, FailureReason="No answer to the ping."), NAME)
    assert isinstance(outcome, EndpointFailed)
    assert str(outcome) == f"Endpoint lexline is {status}: No answer to the ping."


def test_an_endpoint_in_service_with_another_config_was_taken_back(described: Any) -> None:
    reason = 'The update was rolled back because of alarm "lexline-5xx".'
    outcome = endpoint.outcome(described.endpoint(config=FORMER, FailureReason=reason), NAME)
    assert isinstance(outcome, UpdateReverted)
    assert str(outcome).endswith(f"it still serves {FORMER}. {reason}")


@pytest.mark.parametrize("live", [None, "Deleting"])
def test_an_endpoint_that_goes_away_meanwhile_fails(described: Any, live: str | None) -> None:
    outcome = endpoint.outcome(described.endpoint(live) if live else None, NAME)
    assert isinstance(outcome, EndpointFailed)
    assert "was deleted" in str(outcome)


# --- what cannot be updated ----------------------------------------------------------------------


def test_a_real_time_endpoint_becomes_no_serverless_one_and_the_error_says_what_to_do(
    run: Any, described: Any
) -> None:
    with pytest.raises(InvalidInput, match=r"hosting\.endpoint_type: endpoint lexline is real") as raised:
        endpoint.check_can_take(run(endpoint_type="serverless"), described.endpoint(config=FORMER))
    # What it tells to start an execution with is that.
    sentence = str(raised.value)
    assert json.loads(sentence[sentence.index("{") : sentence.rindex("}") + 1]) == {
        "teardown_of": {"run": FORMER}
    }


@pytest.mark.parametrize(
    ("wanted", "status", "variants"),
    [
        ("real-time", "InService", None),
        ("real-time", "InService", SERVERLESS),
        ("serverless", "InService", SERVERLESS),
        # A failed endpoint is deleted first, and a new one may be of either kind.
        ("serverless", "Failed", None),
    ],
)
def test_every_other_change_of_type_is_possible(
    run: Any, described: Any, wanted: str, status: str, variants: Any
) -> None:
    more = {"ProductionVariants": variants} if variants else {}
    endpoint.check_can_take(run(endpoint_type=wanted), described.endpoint(status, config=FORMER, **more))


@pytest.mark.parametrize("status", ["InService", "Failed"])
def test_an_endpoint_that_no_run_has_made_is_left_to_its_owner(run: Any, described: Any, status: str) -> None:
    with pytest.raises(Misconfigured, match=r"by-hand, which no run has made\. .* another EndpointName"):
        endpoint.check_can_take(run(), described.endpoint(status, config="by-hand"))


# --- what is gone --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationException", f'Could not find endpoint "{ARN}".'),
        ("ValidationException", "Requested resource not found."),
        ("ValidationException", "Endpoint lexline does not exist."),
        ("ResourceNotFound", "Gone."),
    ],
)
def test_sagemaker_has_many_words_for_nothing(stubbed: Any, code: str, message: str) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint", code, message)
    assert endpoint.describe("lexline") is None


def test_a_config_that_is_gone_has_no_variant_and_no_tags(stubbed: Any, documents: Any) -> None:
    gone = ("ValidationException", "Could not find endpoint configuration")
    stubbed.refuses("sagemaker", "describe_endpoint_config", *gone)
    stubbed.refuses("sagemaker", "list_tags", *gone)
    assert endpoint.variant(NAME) is None
    assert tags.of_config(documents.execution["id"], NAME) == {}


def test_tags_are_read_in_the_partition_region_and_account_of_another_arn(
    stubbed: Any, described: Any
) -> None:
    stubbed.answers(
        "sagemaker",
        "list_tags",
        described.tags(previous_model=FORMER),
        ResourceArn=f"arn:aws-cn:sagemaker:cn-north-1:444455556666:endpoint-config/{NAME}",
    )
    near = "arn:aws-cn:states:cn-north-1:444455556666:execution:lexline-pipeline:first"
    assert tags.of_config(near, NAME) == {tags.PREVIOUS_MODEL: FORMER}


@pytest.mark.parametrize(
    ("config", "model", "removed"),
    [
        (True, True, [f"endpoint-config/{NAME}", f"model/{NAME}"]),
        (False, True, [f"model/{NAME}"]),
        (False, False, []),
    ],
)
def test_only_what_was_there_is_said_to_be_removed(
    stubbed: Any, config: bool, model: bool, removed: list[str]
) -> None:
    for kind, there in (("endpoint_config", config), ("model", model)):
        if there:
            stubbed.answers("sagemaker", f"delete_{kind}", {})
        else:
            stubbed.refuses("sagemaker", f"delete_{kind}", "ValidationException", f"Could not find {kind}")
    assert resources.delete_config_and_model(NAME) == removed


@pytest.mark.parametrize(
    "message", ["", f'Could not find endpoint "{ARN}".', f'Cannot update in-progress endpoint "{ARN}".']
)
def test_deleting_an_endpoint_that_goes_or_is_gone_is_waiting_for_it(stubbed: Any, message: str) -> None:
    if message:
        stubbed.refuses("sagemaker", "delete_endpoint", "ValidationException", message)
    else:
        stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    assert isinstance(endpoint.delete("lexline"), EndpointBusy)


def test_another_refusal_is_passed_on(stubbed: Any) -> None:
    for operation in ("describe_endpoint", "describe_endpoint_config", "delete_endpoint", "list_tags"):
        stubbed.refuses("sagemaker", operation, "AccessDeniedException", "Not allowed.")
    with pytest.raises(ClientError, match="Not allowed"):
        endpoint.describe("lexline")
    with pytest.raises(ClientError, match="Not allowed"):
        endpoint.config_exists(NAME)
    with pytest.raises(ClientError, match="Not allowed"):
        endpoint.delete("lexline")
    with pytest.raises(ClientError, match="Not allowed"):
        tags.of_config(ARN, NAME)
