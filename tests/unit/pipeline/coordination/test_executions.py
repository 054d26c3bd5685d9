"""executions: status and input as Step Functions returns them, and one execution for each cause."""

import re

import pytest
from botocore.exceptions import ClientError

from coordination import executions
from tests.unit.pipeline.documents import ENVIRONMENT
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.stubbed_aws import StubbedAws


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"])
def test_only_the_status_running_is_running(machine: ExecutionsInMemory, status: str) -> None:
    arn = machine.start("one", {})
    machine.executions[arn].status = status
    assert executions.is_running(arn) is (status == "RUNNING")


def test_an_unknown_execution_is_not_running(machine: ExecutionsInMemory) -> None:
    assert executions.describe(machine.arn("one")) is None
    assert not executions.is_running(machine.arn("one"))
    assert executions.request_of(None) == {}
    assert not executions.ended_by_itself(None)


def test_other_errors_of_describe_are_raised(stubbed: StubbedAws) -> None:
    stubbed.refuses("stepfunctions", "describe_execution", "ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        executions.is_running(f"{ENVIRONMENT['STATE_MACHINE_ARN']}:one")


@pytest.mark.parametrize(
    ("status", "error", "by_itself"),
    [
        ("SUCCEEDED", "", True),
        ("FAILED", "TrainingFailed", True),
        ("FAILED", "", True),
        ("FAILED", "States.DataLimitExceeded", False),
        ("FAILED", "States.Runtime", False),
        ("ABORTED", "StackDeleted", False),
        ("TIMED_OUT", "States.Timeout", False),
    ],
)
def test_an_execution_ended_by_itself_if_it_reached_its_last_state(
    machine: ExecutionsInMemory, status: str, error: str, by_itself: bool
) -> None:
    arn = machine.start("one", {})
    machine.end(arn, status, error)
    assert executions.ended_by_itself(executions.describe(arn)) is by_itself


@pytest.mark.parametrize("text", ["[1]", "{", "null", '"text"', ""])
def test_an_input_that_is_no_json_object_is_read_as_empty(machine: ExecutionsInMemory, text: str) -> None:
    arn = machine.start("one", {})
    machine.executions[arn].input = text
    assert executions.request_of(executions.describe(arn)) == {}


def test_a_cause_has_one_execution_even_after_that_has_ended(machine: ExecutionsInMemory) -> None:
    started = executions.start("cleanup", "the cause", {"dataset": "sotu"})
    assert executions.start("cleanup", "the cause", {"dataset": "sotu"}) == started
    machine.end(started, "SUCCEEDED")
    assert executions.start("cleanup", "the cause", {"dataset": "sotu"}) == started
    assert list(machine.executions) == [started]
    assert executions.request_of(executions.describe(started)) == {"dataset": "sotu"}


def test_other_causes_and_purposes_have_executions_of_their_own(machine: ExecutionsInMemory) -> None:
    causes = [("cleanup", "one"), ("cleanup", "other"), ("gathered", "one")]
    assert len({executions.start(purpose, cause, {}) for purpose, cause in causes}) == 3


@pytest.mark.parametrize("purpose", ["cleanup", "gathered", "lost-upload", "teardown"])
def test_an_executions_name_is_legal(stubbed: StubbedAws, purpose: str) -> None:
    """Only these characters are both legal and usable in the name of a log stream."""
    stubbed.refuses("stepfunctions", "start_execution", "StateMachineDoesNotExist")
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        executions.start(purpose, "x y/z:ä" * 5000, {})
    assert re.fullmatch(r"[0-9A-Za-z_-]{1,80}", stubbed.parameters["StartExecution"]["name"])
