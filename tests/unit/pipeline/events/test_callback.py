"""callback: an event only says where to look; the state that Describe returns completes a token."""

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from core.errors import Throttled
from events import callback
from tests.unit.pipeline.documents import ENDPOINT_ARN, NAME, OTHER, SAGEMAKER
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, StubbedAws

JOB = f"{SAGEMAKER}:training-job/{NAME}"


class Wait:
    """An execution that waits for a resource; `config` is the change that SageMaker has accepted."""

    def __init__(self, table: TableInMemory, machine: ExecutionsInMemory, context: LambdaContext) -> None:
        self.table, self.machine, self.context = table, machine, context
        self.arn = machine.start("first", {})
        self.token = machine.wait(self.arn)

    def begins(self, resource: str, config: str = "") -> None:
        accepted = {"config": config} if config else {}
        self.table.put(resource, token=self.token, run=NAME, expires=1, **accepted)

    def event(self, resource: str) -> None:
        """Let an event come that says that all is well."""
        detail = {"TrainingJobStatus": "Completed", "EndpointStatus": "IN_SERVICE"}
        event = {"source": "aws.sagemaker", "resources": [resource], "detail": detail}
        callback.handler(event, self.context)

    @property
    def heard(self) -> str:
        """How the wait ended; empty if it has not."""
        return self.machine.heard(self.arn)


@pytest.fixture
def wait(table: TableInMemory, machine: ExecutionsInMemory, context: LambdaContext) -> Wait:
    return Wait(table, machine, context)


@pytest.mark.parametrize(
    ("status", "secondary", "heard"),
    [
        ("Completed", "Completed", "Success"),
        ("Failed", "Failed", "TrainingFailed"),
        ("Stopped", "MaxRuntimeExceeded", "TrainingTimedOut"),
        ("InProgress", "Training", ""),
    ],
)
def test_a_job_completes_the_token_when_it_has_ended(
    expect: ExpectedCalls, wait: Wait, status: str, secondary: str, heard: str
) -> None:
    wait.begins(JOB)
    expect.describe_training_job(status, secondary)
    wait.event(JOB)
    assert wait.heard == heard
    assert bool(wait.table.get(JOB)) is not bool(heard)


def test_a_job_that_does_not_exist_completes_nothing(expect: ExpectedCalls, wait: Wait) -> None:
    wait.begins(JOB)
    expect.no_training_job()
    wait.event(JOB)
    assert wait.heard == ""


def test_an_event_about_a_resource_that_no_state_waits_for_is_ignored(
    stubbed: StubbedAws, wait: Wait
) -> None:
    wait.event(JOB)
    assert stubbed.calls == ["GetItem"]


def test_eventbridge_retries_if_the_token_cannot_be_completed_now(
    stubbed: StubbedAws, described: Described, table: TableInMemory, context: LambdaContext
) -> None:
    table.put(JOB, token="token-1", run=NAME, expires=1)
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.refuses("stepfunctions", "send_task_success", "ThrottlingException")
    with pytest.raises(Throttled):
        callback.handler({"resources": [JOB]}, context)
    assert table.get(JOB)["token"] == "token-1"


@pytest.mark.parametrize(
    ("status", "config", "heard"),
    [
        ("InService", NAME, "Success"),
        ("InService", OTHER, "UpdateReverted"),
        ("Failed", NAME, "EndpointFailed"),
        ("Updating", OTHER, ""),
    ],
)
def test_an_endpoint_completes_the_token_when_it_has_settled(
    expect: ExpectedCalls, wait: Wait, status: str, config: str, heard: str
) -> None:
    wait.begins(ENDPOINT_ARN, config=NAME)
    expect.describe_endpoint(status, config)
    wait.event(ENDPOINT_ARN)
    assert wait.heard == heard
    assert bool(wait.table.get(ENDPOINT_ARN)) is not bool(heard)


@pytest.mark.parametrize("config", ["", OTHER])
def test_a_late_event_about_an_earlier_change_is_ignored(
    stubbed: StubbedAws, wait: Wait, config: str
) -> None:
    """SageMaker has not accepted this run's change yet, so Describe would return the former state."""
    wait.begins(ENDPOINT_ARN, config=config)
    wait.event(ENDPOINT_ARN)
    assert stubbed.calls == ["GetItem"]
