from datetime import timedelta
from typing import Any

import pytest

from lexline.aws.history import joined, map_run, outputs_of, steps_of
from tests.unit.lexline.pipeline import Gathered
from tests.unit.lexline.samples import ONE, WHEN

Event = tuple[float, str, dict[str, Any]]


def history(*events: Event) -> Any:
    return [
        {"id": number, "type": kind, "timestamp": WHEN + timedelta(seconds=second), **details}
        for number, (second, kind, details) in enumerate(events, 1)
    ]


def entered(second: float, name: str, kind: str = "Task") -> Event:
    return second, f"{kind}StateEntered", {"stateEnteredEventDetails": {"name": name}}


def exited(second: float, name: str, kind: str = "Task") -> Event:
    return second, f"{kind}StateExited", {"stateExitedEventDetails": {"name": name}}


def scheduled(second: float) -> Event:
    return second, "TaskScheduled", {}


def failed(second: float, error: str) -> Event:
    return second, "TaskFailed", {"taskFailedEventDetails": {"error": error}}


def succeeded(second: float, output: str) -> Event:
    return second, "TaskSucceeded", {"taskSucceededEventDetails": {"output": output}}


def test_only_tasks_are_steps_and_a_running_one_counts_up_to_now() -> None:
    steps = steps_of(
        history(
            (0, "ExecutionStarted", {}),
            entered(0, "Begin", "Pass"),
            exited(0, "Begin", "Pass"),
            entered(0, "Plan"),
            exited(2, "Plan"),
            entered(2, "Prepared?", "Choice"),
            exited(2, "Prepared?", "Choice"),
            entered(3, "Train"),
        )
    )
    assert [(step.name, step.state) for step in steps] == [("Plan", "done"), ("Train", "running")]
    assert steps[0].seconds == 2
    assert steps[1].elapsed(WHEN + timedelta(seconds=10)) == 7


def test_a_map_is_a_step_and_its_newest_run_is_known() -> None:
    def started(second: float, arn: str) -> Event:
        return second, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": arn}}

    failure = {"mapRunFailedEventDetails": {"error": "States.ItemReaderFailed"}}
    events = history(
        entered(0, "ReadUploads", "Map"),
        started(1, "first"),
        (2, "MapRunFailed", failure),
        started(4, "second"),
        (8, "MapRunSucceeded", {}),
        exited(9, "ReadUploads", "Map"),
    )
    (step,) = steps_of(events)
    assert (step.name, step.state, step.seconds, step.retries) == ("ReadUploads", "done", 9, 1)
    assert map_run(events) == "second"
    assert map_run(events[:1]) is None
    (failed_step,) = steps_of([*events[:3], *events[5:]])
    assert (failed_step.state, failed_step.error) == ("failed", "States.ItemReaderFailed")


@pytest.mark.parametrize(
    ("events", "state", "error", "retries"),
    [
        ([failed(1, "Lambda.TooManyRequestsException"), scheduled(2)], "done", "", 1),
        ([failed(1, "InvalidDataset")], "failed", "InvalidDataset", 0),
        ([failed(1, "NothingToDo")], "done", "", 0),
        ([failed(1, "Unchanged")], "done", "", 0),
    ],
)
def test_a_step_fails_with_the_error_of_its_last_attempt_unless_there_was_nothing_to_do(
    events: list[Event], state: str, error: str, retries: int
) -> None:
    (step,) = steps_of(history(entered(0, "Plan"), scheduled(0), *events, exited(3, "Plan")))
    assert (step.state, step.error, step.retries) == (state, error, retries)


def test_a_step_that_is_entered_again_is_one_step_with_all_its_time() -> None:
    (step,) = steps_of(
        history(
            entered(0, "Train"),
            (60, "TaskTimedOut", {"taskTimedOutEventDetails": {"error": "States.Timeout"}}),
            exited(60, "Train"),
            entered(61, "Train"),
            exited(71, "Train"),
        )
    )
    assert (step.state, step.seconds, step.visits, step.error) == ("done", 70, 2, "")


GATHERED = (entered(0, "Gather"), exited(1, "Gather"), entered(1, "QuietPeriod", "Wait"))


def test_a_pause_is_a_part_of_the_step_before_it() -> None:
    (step,) = steps_of(history(*GATHERED))
    assert (step.name, step.state, step.pause) == ("Gather", "running", "QuietPeriod")
    assert step.elapsed(WHEN + timedelta(seconds=10)) == 10
    (step,) = steps_of(
        history(*GATHERED, exited(31, "QuietPeriod", "Wait"), entered(31, "Gather"), exited(32, "Gather"))
    )
    assert (step.state, step.seconds, step.pause) == ("done", 32, "")


@pytest.mark.parametrize("events", [[entered(0, "Train")], GATHERED])
def test_an_aborted_execution_fails_the_step_that_it_was_in(events: list[Event]) -> None:
    (step,) = steps_of(history(*events, (5, "ExecutionAborted", {})))
    assert (step.state, step.seconds, step.error, step.pause) == ("failed", 5, "ExecutionAborted", "")


def test_outputs_are_read_with_and_without_lambdas_envelope() -> None:
    events = history(
        entered(0, "Plan"),
        succeeded(1, '{"StatusCode": 200, "Payload": {"name": "lexline-sotu-0"}}'),
        exited(1, "Plan"),
        entered(1, "Train"),
        succeeded(2, '{"job": "lexline-sotu-0"}'),
    )
    assert list(outputs_of(events, "Plan")) == [{"name": "lexline-sotu-0"}]
    assert list(outputs_of(events, "Train")) == [{"job": "lexline-sotu-0"}]
    assert list(outputs_of(events, "Report")) == []


PLANNED = (entered(0, "Plan"), succeeded(0, "{}"), entered(1, "Gather"))


@pytest.mark.parametrize(
    ("events", "run"),
    [
        ([*PLANNED], None),
        ([*PLANNED, succeeded(2, Gathered(seconds=0, joined=ONE).model_dump_json())], ONE),
        ([*PLANNED, succeeded(2, Gathered(seconds=0).model_dump_json())], ""),
        ([*PLANNED, (2, "ExecutionAborted", {})], ""),
    ],
)
def test_whether_an_upload_joined_a_run_is_undecided_until_it_has_gathered_or_ended(
    events: list[Event], run: str | None
) -> None:
    assert joined(history(*events)) == run
