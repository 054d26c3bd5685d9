"""callback: an event is a hint where to look; only an end that Describe tells is an answer."""

from typing import Any

import pytest
from botocore.stub import ANY

from core.errors import Throttled
from events import callback

NAME = "lexline--sotu-0123456789ab"
OTHER = "lexline--sotu-ffffffffffff"
ENDPOINT = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/lexline"
JOB = f"arn:aws:sagemaker:eu-west-1:111122223333:training-job/{NAME}"


def event(resource: str, **detail: str) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": "111122223333",
        "time": "2026-03-01T12:10:00Z",
        "region": "eu-west-1",
        "resources": [resource],
        "detail": detail,
    }


@pytest.fixture
def waits(stubbed: Any, described: Any) -> Any:
    def found(resource: str, **more: str) -> None:
        stubbed.answers(
            "dynamodb",
            "get_item",
            {"Item": described.item("token-1", resource, **more)},
            TableName="tokens",
            Key={"resource": {"S": resource}},
            ConsistentRead=True,
        )

    return found


def forgets(stubbed: Any, resource: str) -> None:
    stubbed.answers(
        "dynamodb",
        "delete_item",
        {},
        TableName="tokens",
        Key={"resource": {"S": resource}},
        ConditionExpression="#token = :token",
        ExpressionAttributeNames={"#token": "token"},
        ExpressionAttributeValues={":token": {"S": "token-1"}},
    )


def test_a_completed_job_answers_the_waiting_state_and_is_forgotten(
    stubbed: Any, context: Any, described: Any, waits: Any
) -> None:
    waits(JOB)
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job(), TrainingJobName=NAME)
    stubbed.answers("stepfunctions", "send_task_success", {}, taskToken="token-1", output=ANY)
    forgets(stubbed, JOB)
    callback.handler(event(JOB, TrainingJobStatus="Completed"), context)


@pytest.mark.parametrize(
    ("status", "secondary", "error"),
    [
        ("Failed", "Failed", "TrainingFailed"),
        ("Stopped", "Stopped", "TrainingStopped"),
        ("Stopped", "MaxRuntimeExceeded", "TrainingTimedOut"),
    ],
)
def test_a_job_that_ended_otherwise_fails_the_waiting_state(
    stubbed: Any, context: Any, described: Any, waits: Any, status: str, secondary: str, error: str
) -> None:
    waits(JOB)
    stubbed.answers("sagemaker", "describe_training_job", described.training_job(status, secondary))
    stubbed.answers("stepfunctions", "send_task_failure", {}, taskToken="token-1", error=error, cause=ANY)
    forgets(stubbed, JOB)
    callback.handler(event(JOB, TrainingJobStatus=status), context)


def test_describe_is_believed_and_not_the_event(
    stubbed: Any, context: Any, described: Any, waits: Any
) -> None:
    waits(JOB)
    stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    callback.handler(event(JOB, TrainingJobStatus="Completed"), context)


def test_a_resource_that_nobody_waits_on_is_nobodys_business(stubbed: Any, context: Any) -> None:
    stubbed.answers("dynamodb", "get_item", {})
    callback.handler(event(JOB), context)


def test_a_job_that_is_gone_is_no_answer(stubbed: Any, context: Any, waits: Any) -> None:
    waits(JOB)
    stubbed.refuses(
        "sagemaker", "describe_training_job", "ValidationException", "Requested resource not found."
    )
    callback.handler(event(JOB), context)


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_stale_token_is_no_error_and_its_item_stays_for_the_next_attempt(
    stubbed: Any, context: Any, described: Any, waits: Any, code: str
) -> None:
    waits(JOB)
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.refuses("stepfunctions", "send_task_success", code)
    callback.handler(event(JOB), context)
    assert "DeleteItem" not in stubbed.calls


def test_a_newer_token_is_not_forgotten_with_the_old_one(
    stubbed: Any, context: Any, described: Any, waits: Any
) -> None:
    waits(JOB)
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.answers("stepfunctions", "send_task_success", {})
    stubbed.refuses("dynamodb", "delete_item", "ConditionalCheckFailedException")
    callback.handler(event(JOB), context)


def test_an_answer_that_cannot_be_given_now_is_left_to_eventbridges_retry(
    stubbed: Any, context: Any, described: Any, waits: Any
) -> None:
    waits(JOB)
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.refuses("stepfunctions", "send_task_success", "ThrottlingException")
    with pytest.raises(Throttled):
        callback.handler(event(JOB), context)


@pytest.mark.parametrize(
    ("status", "config", "error"),
    [
        ("Failed", NAME, "EndpointFailed"),
        ("UpdateRollbackFailed", NAME, "EndpointFailed"),
        ("OutOfService", NAME, "EndpointFailed"),
        ("Deleting", NAME, "EndpointFailed"),
        ("InService", OTHER, "UpdateReverted"),
    ],
)
def test_an_endpoint_that_does_not_serve_the_run_fails_the_waiting_state(
    stubbed: Any, context: Any, described: Any, waits: Any, status: str, config: str, error: str
) -> None:
    waits(ENDPOINT, config=NAME)
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint(status, config=config))
    stubbed.answers("stepfunctions", "send_task_failure", {}, taskToken="token-1", error=error, cause=ANY)
    forgets(stubbed, ENDPOINT)
    callback.handler(event(ENDPOINT, EndpointStatus="IN_SERVICE"), context)


def test_an_endpoint_in_service_with_the_runs_config_answers_the_waiting_state(
    stubbed: Any, context: Any, described: Any, waits: Any
) -> None:
    waits(ENDPOINT, config=NAME)
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint(), EndpointName="lexline")
    stubbed.answers("stepfunctions", "send_task_success", {}, taskToken="token-1", output=ANY)
    forgets(stubbed, ENDPOINT)
    callback.handler(event(ENDPOINT, EndpointStatus="IN_SERVICE"), context)


def test_an_endpoint_under_way_is_no_answer(stubbed: Any, context: Any, described: Any, waits: Any) -> None:
    waits(ENDPOINT, config=NAME)
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint("Updating", config=OTHER))
    callback.handler(event(ENDPOINT, EndpointStatus="UPDATING"), context)


@pytest.mark.parametrize("config", ["", OTHER])
def test_a_late_event_of_an_earlier_change_is_not_taken_for_this_runs(
    stubbed: Any, context: Any, waits: Any, config: str
) -> None:
    waits(ENDPOINT, config=config)
    callback.handler(event(ENDPOINT, EndpointStatus="IN_SERVICE"), context)
    assert stubbed.calls == ["GetItem"]
