"""callback: an event only says where to look; the state that Describe returns completes a token."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from core.errors import Throttled
from events import callback
from tests.unit.pipeline.documents import ENDPOINT_ARN, NAME, OTHER, SAGEMAKER, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, StubbedAws

JOB = f"{SAGEMAKER}:training-job/{NAME}"
Waits = Callable[..., str]


@pytest.fixture
def waits(table: TableInMemory, machine: ExecutionsInMemory) -> Waits:
    """waits(resource, config): an execution waits for the resource; `config` is what SageMaker accepted."""

    def wait(resource: str, config: str = "") -> str:
        arn = machine.start("first", {})
        accepted = {"config": config} if config else {}
        table.put(resource, token=machine.wait(arn), run=NAME, expires=1, **accepted)
        return arn

    return wait


@pytest.fixture
def comes(context: LambdaContext) -> Callable[[str, str], object]:
    """comes(resource, status): let an event about the resource come."""

    def event(resource: str, status: str) -> object:
        detail = {"TrainingJobStatus": status, "EndpointStatus": status}
        return callback.handler(
            {"source": "aws.sagemaker", "resources": [resource], "detail": detail}, context
        )

    return event


@pytest.mark.parametrize(
    ("status", "secondary", "heard"),
    [
        ("Completed", "Completed", "Success"),
        ("Failed", "Failed", "TrainingFailed"),
        ("Stopped", "Stopped", "TrainingStopped"),
        ("Stopped", "MaxRuntimeExceeded", "TrainingTimedOut"),
    ],
)
def test_a_job_that_ended_completes_the_token(
    stubbed: StubbedAws,
    described: Described,
    table: TableInMemory,
    machine: ExecutionsInMemory,
    waits: Waits,
    comes: Any,
    status: str,
    secondary: str,
    heard: str,
) -> None:
    arn = waits(JOB)
    job = described.completed_job() if heard == "Success" else described.training_job(status, secondary)
    stubbed.answers("sagemaker", "describe_training_job", job, TrainingJobName=NAME)
    comes(JOB, status)
    assert machine.heard(arn) == heard
    assert table.get(JOB) == {}


def test_a_job_in_progress_completes_nothing_whatever_the_event_says(
    expect: ExpectedCalls, machine: ExecutionsInMemory, waits: Waits, comes: Any
) -> None:
    arn = waits(JOB)
    expect.describe_training_job("InProgress", "Training")
    comes(JOB, "Completed")
    assert machine.heard(arn) == ""


def test_a_job_that_does_not_exist_completes_nothing(
    expect: ExpectedCalls, machine: ExecutionsInMemory, waits: Waits, comes: Any
) -> None:
    arn = waits(JOB)
    expect.no_training_job()
    comes(JOB, "Completed")
    assert machine.heard(arn) == ""


def test_an_event_about_a_resource_that_no_state_waits_for_is_ignored(
    stubbed: StubbedAws, table: TableInMemory, comes: Any
) -> None:
    comes(JOB, "Completed")
    assert stubbed.calls == ["GetItem"]


def test_the_item_stays_if_the_state_has_a_newer_token(
    stubbed: StubbedAws,
    described: Described,
    table: TableInMemory,
    machine: ExecutionsInMemory,
    waits: Waits,
    comes: Any,
) -> None:
    machine.wait(waits(JOB))
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    comes(JOB, "Completed")
    assert table.get(JOB)["run"] == NAME


def test_eventbridge_retries_if_the_token_cannot_be_completed_now(
    stubbed: StubbedAws, described: Described, table: TableInMemory, comes: Any
) -> None:
    table.put(JOB, token="token-1", run=NAME, expires=1)
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.refuses("stepfunctions", "send_task_success", "ThrottlingException")
    with pytest.raises(Throttled):
        comes(JOB, "Completed")
    assert table.get(JOB)["token"] == "token-1"


@pytest.mark.parametrize(
    ("status", "config", "heard"),
    [
        ("InService", NAME, "Success"),
        ("InService", OTHER, "UpdateReverted"),
        ("Failed", NAME, "EndpointFailed"),
        ("UpdateRollbackFailed", NAME, "EndpointFailed"),
        ("OutOfService", NAME, "EndpointFailed"),
        ("Deleting", NAME, "EndpointFailed"),
        ("Updating", OTHER, ""),
    ],
)
def test_an_endpoint_that_settled_completes_the_token(
    expect: ExpectedCalls,
    table: TableInMemory,
    machine: ExecutionsInMemory,
    waits: Waits,
    comes: Any,
    documents: Documents,
    status: str,
    config: str,
    heard: str,
) -> None:
    arn = waits(ENDPOINT_ARN, config=NAME)
    expect.describe_endpoint(status, config)
    comes(ENDPOINT_ARN, "IN_SERVICE")
    assert machine.heard(arn) == heard
    assert bool(table.get(ENDPOINT_ARN)) is not bool(heard)


@pytest.mark.parametrize("config", ["", OTHER])
def test_a_late_event_about_an_earlier_change_is_ignored(
    stubbed: StubbedAws, waits: Waits, comes: Any, config: str
) -> None:
    """SageMaker has not accepted this run's change yet, so Describe would return the former state."""
    waits(ENDPOINT_ARN, config=config)
    comes(ENDPOINT_ARN, "IN_SERVICE")
    assert stubbed.calls == ["GetItem"]
