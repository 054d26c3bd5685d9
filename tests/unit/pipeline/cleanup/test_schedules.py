"""schedules: one schedule for each run, which starts the execution that takes its endpoint down."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cleanup import schedules
from contracts.request import TeardownOf
from core.errors import ServiceUnavailable
from tests.unit.pipeline.still_clock import stand_still

NAME = "lexline--sotu-0123456789ab"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SCHEDULE = {"ScheduleArn": "arn:aws:scheduler:eu-west-1:111122223333:schedule/lexline-teardowns/x"}
EXISTS, GONE = "ConflictException", "ResourceNotFoundException"


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, schedules)


def asked(variables: Any, at: str, document: Any) -> dict[str, Any]:
    return {
        "Name": NAME,
        "GroupName": "lexline-teardowns",
        "ScheduleExpression": f"at({at})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": variables["STATE_MACHINE_ARN"],
            "RoleArn": variables["SCHEDULE_ROLE_ARN"],
            "Input": json.dumps(document),
        },
    }


def test_the_schedule_starts_an_execution_that_takes_the_run_down_and_is_gone_after_it(
    stubbed: Any, variables: Any
) -> None:
    wanted = asked(variables, "2026-03-01T20:00:01", {"teardown_of": {"run": NAME}})
    stubbed.answers("scheduler", "create_schedule", SCHEDULE, **wanted)
    at = schedules.schedule_teardown(TeardownOf(run=NAME), timedelta(hours=8))
    assert at == datetime(2026, 3, 1, 20, 0, 1, tzinfo=UTC)


def test_a_schedule_for_when_idle_says_for_how_long(stubbed: Any, variables: Any) -> None:
    wish = {"teardown_of": {"run": NAME, "when_idle": "PT1H"}}
    stubbed.answers("scheduler", "create_schedule", SCHEDULE, **asked(variables, "2026-03-01T13:00:01", wish))
    schedules.schedule_teardown(TeardownOf(run=NAME, when_idle=timedelta(hours=1)), timedelta(hours=1))


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(seconds=1), timedelta(seconds=59.75)])
def test_the_time_has_whole_seconds_and_never_passed_before_it_was_said(
    stubbed: Any, delay: timedelta
) -> None:
    stubbed.answers("scheduler", "create_schedule", SCHEDULE)
    at = schedules.schedule_teardown(TeardownOf(run=NAME), delay)
    assert at.microsecond == 0
    assert timedelta(0) < at - (NOW + delay) <= timedelta(seconds=1)


def test_a_summer_time_is_told_in_utc(stubbed: Any, variables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    summer = datetime.fromisoformat("2026-03-29T02:59:59+01:00")
    stand_still(monkeypatch, summer, schedules)
    wanted = asked(variables, "2026-03-29T02:00:00", {"teardown_of": {"run": NAME}})
    stubbed.answers("scheduler", "create_schedule", SCHEDULE, **wanted)
    schedules.schedule_teardown(TeardownOf(run=NAME), timedelta(0))


def test_a_run_has_one_schedule_which_changes(stubbed: Any, variables: Any) -> None:
    wanted = asked(variables, "2026-03-01T13:00:01", {"teardown_of": {"run": NAME}})
    stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409, **wanted)
    stubbed.answers("scheduler", "update_schedule", SCHEDULE, **wanted)
    schedules.schedule_teardown(TeardownOf(run=NAME), timedelta(hours=1))


def test_a_schedule_that_is_done_and_deleted_in_between_is_made_again(stubbed: Any, variables: Any) -> None:
    """The execution that asks was started by the schedule itself, which Scheduler deletes shortly after."""
    stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409)
    stubbed.refuses("scheduler", "update_schedule", GONE, status=404)
    stubbed.answers("scheduler", "create_schedule", SCHEDULE)
    schedules.schedule_teardown(TeardownOf(run=NAME), timedelta(hours=1))


def test_a_schedule_that_comes_and_goes_is_for_the_state_machine_to_retry(stubbed: Any) -> None:
    for _ in range(3):
        stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409)
        stubbed.refuses("scheduler", "update_schedule", GONE, status=404)
    with pytest.raises(ServiceUnavailable, match=NAME):
        schedules.schedule_teardown(TeardownOf(run=NAME), timedelta(hours=1))


@pytest.mark.parametrize("exists", [False, True])
def test_another_refusal_is_passed_on(stubbed: Any, exists: bool) -> None:
    if exists:
        stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409)
    operation = "update_schedule" if exists else "create_schedule"
    stubbed.refuses("scheduler", operation, "AccessDeniedException", "iam:PassRole", 403)
    with pytest.raises(ClientError, match="iam:PassRole"):
        schedules.schedule_teardown(TeardownOf(run=NAME), timedelta(hours=1))
