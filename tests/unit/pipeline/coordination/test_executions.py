"""executions: Step Functions' own word on what runs, and no execution started twice for one cause."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from coordination import executions

MACHINE = "arn:aws:states:eu-west-1:111122223333:stateMachine:lexline-pipeline"


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"])
def test_an_execution_runs_until_it_has_ended(machine: Any, status: str) -> None:
    arn = machine.start("one", {})
    machine.executions[arn].status = status
    assert executions.is_running(arn) is (status == "RUNNING")


def test_an_execution_that_nobody_knows_does_not_run(machine: Any) -> None:
    assert executions.describe(machine.arn("one")) is None
    assert not executions.is_running(machine.arn("one"))
    assert executions.request_of(None) == {}
    assert not executions.ended_by_itself(None)


def test_what_cannot_be_asked_now_is_no_answer(stubbed: Any) -> None:
    stubbed.refuses("stepfunctions", "describe_execution", "ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        executions.is_running(f"{MACHINE}:one")


@pytest.mark.parametrize(
    ("status", "error", "by_itself"),
    [
        ("SUCCEEDED", "", True),
        ("FAILED", "TrainingFailed", True),
        ("FAILED", "", True),
        ("FAILED", "States.DataLimitExceeded", False),
        ("FAILED", "States.Runtime", False),
        ("ABORTED", "", False),
        ("ABORTED", "StackDeleted", False),
        ("TIMED_OUT", "States.Timeout", False),
    ],
)
def test_an_execution_that_ended_in_its_own_states_is_told_from_one_that_was_ended(
    machine: Any, status: str, error: str, by_itself: bool
) -> None:
    arn = machine.start("one", {})
    machine.end(arn, status, error)
    assert executions.ended_by_itself(executions.describe(arn)) is by_itself


@pytest.mark.parametrize("input_", ["[1]", "{", "null", '"text"', ""])
def test_an_input_that_is_no_object_asks_for_nothing(machine: Any, input_: str) -> None:
    arn = machine.start("one", {})
    machine.executions[arn].input = input_
    assert executions.request_of(executions.describe(arn)) == {}


def test_what_was_asked_is_read_from_the_executions_input(machine: Any) -> None:
    arn = machine.start("one", {"dataset": "sotu"})
    assert executions.request_of(executions.describe(arn)) == {"dataset": "sotu"}


def test_an_execution_is_started_once_for_one_cause_however_often_and_late_that_is_noticed(
    machine: Any,
) -> None:
    started = executions.start("cleanup", "the cause", {"dataset": "sotu"})
    assert executions.start("cleanup", "the cause", {"dataset": "sotu"}) == started
    machine.end(started, "SUCCEEDED")
    assert executions.start("cleanup", "the cause", {"dataset": "sotu"}) == started
    assert list(machine.executions) == [started]
    assert machine.input(started) == {"dataset": "sotu"}


def test_other_causes_and_purposes_have_executions_of_their_own(machine: Any) -> None:
    told = [("cleanup", "one"), ("cleanup", "other"), ("gathered", "one")]
    assert len({executions.start(purpose, cause, {}) for purpose, cause in told}) == 3


def test_an_executions_name_fits_into_80_characters_whatever_its_cause(stubbed: Any) -> None:
    stubbed.refuses("stepfunctions", "start_execution", "StateMachineDoesNotExist")
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        executions.start("lost-upload", "x" * 5000, {})
    # StartExecution's reference.
    assert len(stubbed.parameters["StartExecution"]["name"]) <= 80
