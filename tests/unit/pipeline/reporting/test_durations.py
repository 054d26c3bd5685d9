"""durations: seconds by step, from what GetExecutionHistory returns."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import ANY

from reporting import durations
from tests.unit.pipeline.stubbed_aws import StubbedAws

ARN = "arn:aws:states:eu-west-1:111122223333:execution:lexline-pipeline:first"
START = datetime(2026, 3, 1, tzinfo=UTC)


def history(*states: str) -> list[dict[str, Any]]:
    """The events of an execution; a state is "Type Name entered exited", without the exit if it has none."""
    events: list[dict[str, Any]] = [{"timestamp": START, "type": "ExecutionStarted", "id": 1}]
    for state in states:
        kind, name, *seconds = state.split()
        for change, second in zip(("Entered", "Exited"), seconds, strict=False):
            event = {"timestamp": START + timedelta(seconds=float(second)), "type": f"{kind}State{change}"}
            details = {f"state{change}EventDetails": {"name": name}}
            events.append({"id": len(events) + 1, **event, **details})
    return events


def returned(stubbed: StubbedAws, events: list[dict[str, Any]], page: int = 1000) -> None:
    """Let GetExecutionHistory return the events in pages."""
    request: dict[str, Any] = {"executionArn": ARN, "includeExecutionData": False, "maxResults": 1000}
    for first in range(0, len(events), page):
        token = {"nextToken": str(first + page)} if first + page < len(events) else {}
        response = {"events": events[first : first + page], **token}
        stubbed.answers("stepfunctions", "get_execution_history", response, **request)
        request["nextToken"] = ANY


@pytest.mark.parametrize("page", [1000, 2])
def test_every_task_has_its_seconds_and_the_wait_for_quiet_belongs_to_gather(
    stubbed: StubbedAws, page: int
) -> None:
    gathering = ("Task Gather 1 2", "Choice Quiet? 2 2", "Wait QuietPeriod 2 32", "Task Gather 32 33")
    begun = ("Pass Begin 0 0", "Task Plan 0 1", "Choice Uploaded? 1 1", *gathering, "Choice Quiet? 33 33")
    returned(stubbed, history(*begun, "Task SmokeTest 33 35.5", "Task Report 35.5"), page)
    found = durations.of_execution(ARN)
    assert list(found.items()) == [("plan", 1), ("gather", 32), ("smoke_test", 2.5), ("total", 35.5)]


def test_a_map_has_its_seconds(stubbed: StubbedAws) -> None:
    items = "Map ReadUploads 1 31"
    returned(stubbed, history("Task ListUploads 0 1", items, "Choice Read? 31 31", "Task Report 31"))
    assert durations.of_execution(ARN) == {"list_uploads": 1, "read_uploads": 30, "total": 31}


def test_a_task_that_is_caught_back_to_itself_needs_no_exit(stubbed: StubbedAws) -> None:
    returned(stubbed, history("Task Train 0", "Task Train 300", "Task Train 600 700", "Task Report 700"))
    assert durations.of_execution(ARN) == {"train": 700, "total": 700}


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "ExecutionDoesNotExist"])
def test_a_history_that_cannot_be_read_costs_only_the_durations(stubbed: StubbedAws, code: str) -> None:
    stubbed.refuses("stepfunctions", "get_execution_history", code)
    assert durations.of_execution(ARN) == {}


def test_a_history_that_is_too_long_is_not_read_to_its_end(
    stubbed: StubbedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "_MOST_EVENTS", 3)
    returned(stubbed, history("Task Train 0 1", "Task Train 1 2", "Task Report 2"))
    assert durations.of_execution(ARN) == {}
