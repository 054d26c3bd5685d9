"""schedules: each run has at most one schedule, which starts the execution that tears its endpoint down."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cleanup import schedules
from contracts.request import TeardownOf
from core.errors import ServiceUnavailable
from tests.unit.pipeline.documents import ENVIRONMENT, NAME
from tests.unit.pipeline.still_clock import stand_still
from tests.unit.pipeline.stubbed_aws import StubbedAws

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEDULE = {"ScheduleArn": "arn:aws:scheduler:eu-west-1:111122223333:schedule/lexline-teardowns/x"}
EXISTS, GONE = "ConflictException", "ResourceNotFoundException"


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, schedules)


def schedule(at: str, **teardown_of: str) -> dict[str, Any]:
    """Return CreateSchedule's and UpdateSchedule's parameters."""
    return {
        "Name": NAME,
        "GroupName": "lexline-teardowns",
        "ScheduleExpression": f"at({at})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": ENVIRONMENT["STATE_MACHINE_ARN"],
            "RoleArn": ENVIRONMENT["SCHEDULE_ROLE_ARN"],
            "Input": json.dumps({"teardown_of": {"run": NAME, **teardown_of}}),
        },
    }


@pytest.mark.parametrize(("idle", "teardown_of"), [(None, {}), (timedelta(hours=8), {"when_idle": "PT8H"})])
def test_the_schedule_starts_a_teardown_and_is_deleted_afterwards(
    stubbed: StubbedAws, idle: timedelta | None, teardown_of: dict[str, str]
) -> None:
    expected = schedule("2026-03-01T20:00:01", **teardown_of)
    stubbed.answers("scheduler", "create_schedule", SCHEDULE, **expected)
    at = schedules.schedule_teardown(TeardownOf(run=NAME, when_idle=idle), timedelta(hours=8))
    assert at == datetime(2026, 3, 1, 20, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(seconds=1), timedelta(seconds=59.75)])
def test_the_time_is_in_whole_seconds_and_in_the_future(stubbed: StubbedAws, delay: timedelta) -> None:
    stubbed.answers("scheduler", "create_schedule", SCHEDULE)
    at = schedules.schedule_teardown(TeardownOf(run=NAME), delay)
    assert at.microsecond == 0
    assert timedelta(0) < at - (NOW + delay) <= timedelta(seconds=1)


def test_the_time_is_in_utc(stubbed: StubbedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_still(monkeypatch, datetime.fromisoformat("2026-03-29T02:59:59+01:00"), schedules)
    stubbed.answers("scheduler", "create_schedule", SCHEDULE, **schedule("2026-03-29T02:00:00"))
    schedules.schedule_teardown(TeardownOf(run=NAME), timedelta(0))


def test_an_existing_schedule_is_moved(stubbed: StubbedAws) -> None:
    expected = schedule("2026-03-01T13:00:01")
    stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409, **expected)
    stubbed.answers("scheduler", "update_schedule", SCHEDULE, **expected)
    schedules.schedule_teardown(TeardownOf(run=NAME), HOUR)


def test_a_schedule_that_is_deleted_between_the_calls_is_created_again(stubbed: StubbedAws) -> None:
    """The schedule may have started this execution; Scheduler deletes it shortly afterwards."""
    stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409)
    stubbed.refuses("scheduler", "update_schedule", GONE, status=404)
    stubbed.answers("scheduler", "create_schedule", SCHEDULE)
    schedules.schedule_teardown(TeardownOf(run=NAME), HOUR)


def test_a_schedule_that_changes_during_every_attempt_is_retried(stubbed: StubbedAws) -> None:
    for _ in range(3):
        stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409)
        stubbed.refuses("scheduler", "update_schedule", GONE, status=404)
    with pytest.raises(ServiceUnavailable, match=NAME):
        schedules.schedule_teardown(TeardownOf(run=NAME), HOUR)


@pytest.mark.parametrize("operation", ["create_schedule", "update_schedule"])
def test_other_errors_are_raised(stubbed: StubbedAws, operation: str) -> None:
    if operation == "update_schedule":
        stubbed.refuses("scheduler", "create_schedule", EXISTS, status=409)
    stubbed.refuses("scheduler", operation, "AccessDeniedException", "iam:PassRole", 403)
    with pytest.raises(ClientError, match="iam:PassRole"):
        schedules.schedule_teardown(TeardownOf(run=NAME), HOUR)
