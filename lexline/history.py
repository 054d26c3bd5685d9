"""Reads an execution's history: which steps ran, for how long, what became of them, and the report at the
end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

_FAILURES = ("taskFailedEventDetails", "taskTimedOutEventDetails", "lambdaFunctionFailedEventDetails")
GATHER = "Gather"
# The machine's pauses, by the step that they are a part of.
PAUSES = {"QuietPeriod": GATHER, "StillAtWork": "Compensate"}
# Errors by which a step says that there is nothing more to do.
_VERDICTS = {"NothingToDo", "Unchanged"}
_ENDS = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
# The gathering step's sentence on an upload that another run takes along.
_JOINED = re.compile(r"joined run ([a-z0-9-]+),")


@dataclass(frozen=True)
class Step:
    """One Task state of the machine, all its visits and the pauses between them together.

    `error` is the error's name when the last failed. `pause` is the Wait state that it pauses in now, or "".
    """

    name: str
    state: Literal["running", "done", "failed"]
    entered: datetime
    seconds: float
    """Time spent in visits that have ended."""
    visits: int = 1
    retries: int = 0
    error: str = ""
    pause: str = ""

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

    Choices and passes are not shown: they take no time. A pause belongs to the step that it comes after.
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
        elif kind == "WaitStateEntered":
            pause = event["stateEnteredEventDetails"]["name"]
            current = PAUSES.get(pause, "")
            if current in steps:
                paused = replace(steps[current], state="running", entered=event["timestamp"], pause=pause)
                steps[current] = paused
        elif kind == "WaitStateExited" and current in steps:
            steps[current] = _ended(steps[current], event["timestamp"], "")
            current = ""
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
        elif kind in _ENDS and current in steps:
            # No Catch took the error: the state was never left.
            steps[current] = _ended(steps[current], event["timestamp"], error or kind)
            current = ""
    return list(steps.values())


def _ended(step: Step, when: datetime, error: str) -> Step:
    seconds = step.seconds + max(0.0, (when - step.entered).total_seconds())
    failed = error != "" and error not in _VERDICTS
    return replace(
        step, state="failed" if failed else "done", seconds=seconds, error=error if failed else "", pause=""
    )


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


def joined(events: Sequence[HistoryEventTypeDef]) -> str | None:
    """The name of the run that this execution's upload has joined.

    "" when it joined none: it gathers for itself, or it has no such step. None while that is not decided.
    """
    current = ""
    for event in events:
        if "stateEnteredEventDetails" in event:
            current = event["stateEnteredEventDetails"]["name"]
        if current != GATHER:
            continue
        if event["type"] == "TaskSucceeded":
            return ""
        gatherer = joined_by(event.get("taskFailedEventDetails", {}).get("cause", ""))
        if gatherer:
            return gatherer
    return "" if any(event["type"] in _ENDS for event in events) else None


def joined_by(reason: str) -> str:
    """The name of the run that an upload joined, from the gathering step's sentence; "" in any other."""
    told = _JOINED.search(reason)
    return told[1] if told else ""
