"""Read an execution's history: its steps, their durations and their outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

PLAN, GATHER, ACQUIRE, TRAIN, REPORT = "Plan", "Gather", "Acquire", "Train", "Report"
"""Names of the Task states that the command looks for."""
READ = "ReadUploads"
"""Name of the Map state that reads the uploads."""
PAUSES = {"QuietPeriod": GATHER, "StillAtWork": "Compensate"}
"""The Wait states, each with the step that it belongs to."""
_FAILURES = (
    "taskFailedEventDetails",
    "taskTimedOutEventDetails",
    "lambdaFunctionFailedEventDetails",
    "mapRunFailedEventDetails",
)
# With these errors a step says that there is nothing more to do.
_NO_FAILURES = {"NothingToDo", "Unchanged"}
_ENDS = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}


@dataclass(frozen=True)
class Step:
    """One Task or Map state of the execution: all its visits, and the pauses between them.

    Attributes:
        name: Name of the state.
        state: Whether the step is in progress, succeeded or failed.
        entered: When its last visit or pause began.
        seconds: Time spent in visits that have ended.
        visits: How often the state was entered.
        retries: How often Step Functions retried the task.
        error: Name of the error if the step failed, or "".
        pause: The Wait state that the step is in now, or "".
    """

    name: str
    state: Literal["running", "done", "failed"]
    entered: datetime
    seconds: float
    visits: int = 1
    retries: int = 0
    error: str = ""
    pause: str = ""

    def elapsed(self, now: datetime) -> float:
        """Return the seconds that the step has taken until `now`."""
        current = (now - self.entered).total_seconds() if self.state == "running" else 0.0
        return self.seconds + max(0.0, current)


def events_of(client: SFNClient, execution_arn: str) -> list[HistoryEventTypeDef]:
    """Return the whole history of an execution, oldest event first."""
    pages = client.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return [event for page in pages for event in page["events"]]


def steps_of(events: Sequence[HistoryEventTypeDef]) -> list[Step]:
    """Return the Task and Map states in the order in which they were first entered.

    Choice and Pass states are left out, because they take no time. A Wait state is a pause of its step.
    """
    steps: dict[str, Step] = {}
    current = error = ""
    attempts = 0
    for event in events:
        kind, when = event["type"], event["timestamp"]
        if kind in ("TaskStateEntered", "MapStateEntered"):
            current, error, attempts = event["stateEnteredEventDetails"]["name"], "", 0
            former = steps.get(current)
            steps[current] = (
                replace(former, state="running", entered=when, visits=former.visits + 1, error="")
                if former
                else Step(current, "running", when, 0.0)
            )
        elif kind == "WaitStateEntered":
            pause = event["stateEnteredEventDetails"]["name"]
            current = PAUSES.get(pause, "")
            if current in steps:
                steps[current] = replace(steps[current], state="running", entered=when, pause=pause)
        elif kind == "WaitStateExited" and current in steps:
            steps[current] = _ended(steps[current], when, "")
            current = ""
        elif kind in ("TaskScheduled", "MapRunStarted") and current:
            attempts += 1
            error = ""
            if attempts > 1:
                steps[current] = replace(steps[current], retries=steps[current].retries + 1)
        elif kind in ("TaskFailed", "TaskTimedOut", "LambdaFunctionFailed", "MapRunFailed"):
            error = _error_of(event)
        elif kind in ("TaskStateExited", "MapStateExited"):
            name = event["stateExitedEventDetails"]["name"]
            steps[name] = _ended(steps[name], when, error)
            current = ""
        elif kind in _ENDS and current in steps:
            # No Catch handled the error, so the history has no event for leaving the state.
            steps[current] = _ended(steps[current], when, error or kind)
            current = ""
    return list(steps.values())


def _ended(step: Step, when: datetime, error: str) -> Step:
    seconds = step.seconds + max(0.0, (when - step.entered).total_seconds())
    error = "" if error in _NO_FAILURES else error
    return replace(step, state="failed" if error else "done", seconds=seconds, error=error, pause="")


def _error_of(event: HistoryEventTypeDef) -> str:
    details: Any = next((event.get(name) for name in _FAILURES if name in event), {})
    return details.get("error") or "failed"


def parsed(text: str) -> Any:
    """Return what is in a JSON text; None if it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def outputs_of(events: Sequence[HistoryEventTypeDef], state: str) -> Iterator[dict[str, Any]]:
    """Yield the documents that the tasks of a state returned, newest first.

    Anybody who may complete a task can give it any output. What is not a JSON object is left out.
    """
    current = ""
    outputs = []
    for event in events:
        if "stateEnteredEventDetails" in event:
            current = event["stateEnteredEventDetails"]["name"]
        elif current == state and "taskSucceededEventDetails" in event:
            outputs.append(event["taskSucceededEventDetails"].get("output", ""))
    for text in reversed(outputs):
        output = parsed(text)
        # Lambda's response has the function's result in Payload.
        document = output.get("Payload", output) if isinstance(output, dict) else output
        if isinstance(document, dict):
            yield document


def map_run(events: Sequence[HistoryEventTypeDef]) -> str | None:
    """Return the ARN of the newest Map Run of an execution, or None if it has none."""
    for event in reversed(events):
        if event["type"] == "MapRunStarted":
            return event["mapRunStartedEventDetails"]["mapRunArn"]
    return None


def joined(events: Sequence[HistoryEventTypeDef]) -> str | None:
    """Return the name of the run that an execution's upload joined.

    Returns:
        The run's name; "" if the execution has a run of its own; None while that is undecided.
    """
    gathered = next(outputs_of(events, GATHER), None)
    if gathered is not None:
        return str(gathered.get("joined") or "")
    return "" if any(event["type"] in _ENDS for event in events) else None
