"""Reads an execution's history: which steps ran, for how long, what became of them, and the report at the
end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

_FAILURES = ("taskFailedEventDetails", "taskTimedOutEventDetails", "lambdaFunctionFailedEventDetails")


@dataclass(frozen=True)
class Step:
    """One Task state of the machine, all its visits together.

    `error` is the error's name when the last failed.
    """

    name: str
    state: Literal["running", "done", "failed"]
    entered: datetime
    seconds: float
    """Time spent in visits that have ended."""
    visits: int = 1
    retries: int = 0
    error: str = ""

    def elapsed(self, now: datetime) -> float:
        """Seconds up to now."""
        running = (now - self.entered).total_seconds() if self.state == "running" else 0.0
        return self.seconds + max(0.0, running)


def events_of(client: SFNClient, execution_arn: str) -> list[HistoryEventTypeDef]:
    """An execution's whole history, oldest event first."""
    pages = client.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return [event for page in pages for event in page["events"]]


def steps_of(events: Sequence[HistoryEventTypeDef]) -> list[Step]:
    """The Task states in the order they were first entered.

    Choices and passes are not shown: they take no time.
    """
    steps: dict[str, Step] = {}
    current = ""
    error = ""
    attempts = 0
    for event in events:
        kind = event["type"]
        if kind == "TaskStateEntered":
            current = event["stateEnteredEventDetails"]["name"]
            error = ""
            attempts = 0
            known = steps.get(current)
            steps[current] = (
                replace(known, state="running", entered=event["timestamp"], visits=known.visits + 1, error="")
                if known
                else Step(current, "running", event["timestamp"], 0.0)
            )
        elif kind == "TaskScheduled" and current:
            attempts += 1
            error = ""
            if attempts > 1:
                steps[current] = replace(steps[current], retries=steps[current].retries + 1)
        elif kind in ("TaskFailed", "TaskTimedOut", "LambdaFunctionFailed"):
            error = _error_of(event)
        elif kind == "TaskStateExited":
            name = event["stateExitedEventDetails"]["name"]
            steps[name] = _ended(steps[name], event["timestamp"], error)
            current = ""
        elif kind in ("ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut") and current:
            # No Catch took the error: the state was never left.
            steps[current] = _ended(steps[current], event["timestamp"], error or kind)
            current = ""
    return list(steps.values())


def _ended(step: Step, when: datetime, error: str) -> Step:
    seconds = step.seconds + max(0.0, (when - step.entered).total_seconds())
    return replace(step, state="failed" if error else "done", seconds=seconds, error=error)


def _error_of(event: HistoryEventTypeDef) -> str:
    details: dict[str, Any] = {}
    for name in _FAILURES:
        details = event.get(name, details)  # type: ignore[assignment]
    return str(details.get("error", "")) or "failed"


def outputs_of(events: Sequence[HistoryEventTypeDef], state: str) -> Iterator[Any]:
    """What a state's tasks answered, newest first, as JSON."""
    current = ""
    found = []
    for event in events:
        if "stateEnteredEventDetails" in event:
            current = event["stateEnteredEventDetails"]["name"]
        elif current == state and "taskSucceededEventDetails" in event:
            found.append(event["taskSucceededEventDetails"].get("output", "null"))
    for output in reversed(found):
        answer = json.loads(output)
        yield answer.get("Payload", answer) if isinstance(answer, dict) else answer
