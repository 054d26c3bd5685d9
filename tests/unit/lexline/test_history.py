import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from coordination import arrivals
from core.errors import NothingToDo
from lexline.history import joined, joined_by, outputs_of, steps_of

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def history(*events: tuple[float, str, dict[str, Any]]) -> Any:
    return [
        {"id": number, "type": kind, "timestamp": START + timedelta(seconds=second), **details}
        for number, (second, kind, details) in enumerate(events, 1)
    ]


def entered(name: str) -> dict[str, Any]:
    return {"stateEnteredEventDetails": {"name": name}}


def exited(name: str) -> dict[str, Any]:
    return {"stateExitedEventDetails": {"name": name}}


def failed(error: str) -> dict[str, Any]:
    return {"taskFailedEventDetails": {"resource": "invoke", "resourceType": "lambda", "error": error}}


def test_only_tasks_are_steps_and_a_running_one_counts_up_to_now() -> None:
    steps = steps_of(
        history(
            (0, "ExecutionStarted", {}),
            (0, "PassStateEntered", entered("Begin")),
            (0, "PassStateExited", exited("Begin")),
            (0, "TaskStateEntered", entered("Plan")),
            (2, "TaskStateExited", exited("Plan")),
            (2, "ChoiceStateEntered", entered("Prepared?")),
            (2, "ChoiceStateExited", exited("Prepared?")),
            (3, "TaskStateEntered", entered("Train")),
        )
    )
    assert [(step.name, step.state) for step in steps] == [("Plan", "done"), ("Train", "running")]
    assert steps[0].seconds == 2
    assert steps[1].elapsed(START + timedelta(seconds=10)) == 7


def test_a_retry_that_works_is_no_failure() -> None:
    (step,) = steps_of(
        history(
            (0, "TaskStateEntered", entered("Plan")),
            (0, "TaskScheduled", {}),
            (1, "TaskFailed", failed("Lambda.TooManyRequestsException")),
            (2, "TaskScheduled", {}),
            (3, "TaskSucceeded", {}),
            (3, "TaskStateExited", exited("Plan")),
        )
    )
    assert (step.state, step.retries, step.error) == ("done", 1, "")


def test_a_caught_error_fails_its_step_by_name() -> None:
    (step,) = steps_of(
        history(
            (0, "TaskStateEntered", entered("Prepare")),
            (0, "TaskScheduled", {}),
            (1, "TaskFailed", failed("InvalidDataset")),
            (1, "TaskStateExited", exited("Prepare")),
        )
    )
    assert (step.state, step.error) == ("failed", "InvalidDataset")


def test_a_wait_that_is_entered_again_is_one_step_with_all_its_time() -> None:
    (step,) = steps_of(
        history(
            (0, "TaskStateEntered", entered("Train")),
            (60, "TaskTimedOut", {"taskTimedOutEventDetails": {"error": "States.Timeout"}}),
            (60, "TaskStateExited", exited("Train")),
            (61, "TaskStateEntered", entered("Train")),
            (71, "TaskStateExited", exited("Train")),
        )
    )
    assert (step.state, step.seconds, step.visits, step.error) == ("done", 70, 2, "")


def test_an_aborted_execution_fails_the_step_it_was_in() -> None:
    (step,) = steps_of(history((0, "TaskStateEntered", entered("Train")), (5, "ExecutionAborted", {})))
    assert (step.state, step.seconds, step.error) == ("failed", 5, "ExecutionAborted")


def test_the_answer_of_a_lambda_is_taken_out_of_its_envelope() -> None:
    def answered(output: str) -> dict[str, Any]:
        return {
            "taskSucceededEventDetails": {"resource": "invoke", "resourceType": "lambda", "output": output}
        }

    events = history(
        (0, "TaskStateEntered", entered("Plan")),
        (1, "TaskSucceeded", answered('{"StatusCode": 200, "Payload": {"name": "lexline-sotu-0"}}')),
        (1, "TaskStateExited", exited("Plan")),
        (1, "TaskStateEntered", entered("Train")),
        (2, "TaskSucceeded", answered('{"job": "lexline-sotu-0"}')),
    )
    assert list(outputs_of(events, "Plan")) == [{"name": "lexline-sotu-0"}]
    assert list(outputs_of(events, "Train")) == [{"job": "lexline-sotu-0"}]
    assert list(outputs_of(events, "Report")) == []


def quiet_period(begin: float, end: float) -> list[tuple[float, str, dict[str, Any]]]:
    return [
        (begin, "WaitStateEntered", entered("QuietPeriod")),
        (end, "WaitStateExited", exited("QuietPeriod")),
    ]


def gather(begin: float, end: float) -> list[tuple[float, str, dict[str, Any]]]:
    return [(begin, "TaskStateEntered", entered("Gather")), (end, "TaskStateExited", exited("Gather"))]


def test_a_pause_is_a_part_of_the_step_that_it_comes_after() -> None:
    (step,) = steps_of(history(*gather(0, 1), (1, "WaitStateEntered", entered("QuietPeriod"))))
    assert (step.name, step.state, step.pause) == ("Gather", "running", "QuietPeriod")
    assert step.elapsed(START + timedelta(seconds=10)) == 10
    (step,) = steps_of(history(*gather(0, 1), *quiet_period(1, 31), *gather(31, 32)))
    assert (step.state, step.seconds, step.pause) == ("done", 32, "")


def test_an_execution_aborted_in_a_pause_fails_the_step_it_was_in() -> None:
    events = history(
        *gather(0, 1), (1, "WaitStateEntered", entered("QuietPeriod")), (5, "ExecutionAborted", {})
    )
    (step,) = steps_of(events)
    assert (step.state, step.error, step.pause) == ("failed", "ExecutionAborted", "")


@pytest.mark.parametrize("error", ["NothingToDo", "Unchanged"])
def test_a_step_that_finds_nothing_to_do_has_not_failed(error: str) -> None:
    (step,) = steps_of(
        history(
            (0, "TaskStateEntered", entered("Champion")),
            (0, "TaskScheduled", {}),
            (1, "TaskFailed", failed(error)),
            (1, "TaskStateExited", exited("Champion")),
        )
    )
    assert (step.state, step.error) == ("done", "")


def test_an_upload_that_joined_a_run_names_it_in_the_pipelines_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gatherer = "lexline-sotu-0123456789ab"
    item = {"run": {"S": gatherer}, "execution": {"S": "arn"}}
    monkeypatch.setattr(arrivals.table, "get", lambda key: item)
    monkeypatch.setattr(arrivals.table, "write", lambda *_, **__: True)
    monkeypatch.setattr(arrivals.executions, "is_running", lambda arn: True)
    upload: Any = SimpleNamespace(
        name="lexline-sotu-ffffffffffff", dataset="sotu", upload=SimpleNamespace(key="uploads/sotu/a.txt")
    )
    with pytest.raises(NothingToDo) as skipped:
        arrivals.gather(upload, 30)
    cause = json.dumps({"errorMessage": str(skipped.value), "errorType": "NothingToDo"})
    details = {"taskFailedEventDetails": {"resource": "r", "resourceType": "lambda", "cause": cause}}
    events = history((0, "TaskStateEntered", entered("Gather")), (1, "TaskFailed", details))
    assert joined(events) == gatherer
    assert joined_by(str(skipped.value)) == gatherer


def test_whether_an_upload_joined_is_open_until_its_execution_has_gathered_or_ended() -> None:
    planned = (0, "TaskStateEntered", entered("Plan"))
    gathers = (1, "TaskStateEntered", entered("Gather"))
    assert joined(history(planned, gathers)) is None
    assert joined(history(planned, (0, "TaskSucceeded", {}), gathers)) is None
    assert joined(history(planned, gathers, (2, "TaskSucceeded", {}))) == ""
    assert joined(history(planned, (1, "ExecutionSucceeded", {}))) == ""
