"""An execution's life: one that has ended runs no further.

On AWS StopExecution leaves an execution ABORTED and the machine's TimeoutSeconds leaves it TIMED_OUT, past
any Retry and Catch; its history says nothing of what comes after, and only success gives it an output. In
MiniStack a stopped execution goes on and may end as something else, its history goes on too, a failed one
has its error as output, and a machine has no time limit.
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
"""

import contextvars
import functools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

current: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "current_execution", default=None
)
"""MiniStack's record of the execution that this thread runs a state of."""

_ENDS = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
"""The history's events after which there is none."""


class Ended(BaseException):
    """Unwinds an execution that was stopped or timed out, past any Retry and Catch."""


def still_running() -> None:
    """Raise Ended when the current execution has ended meanwhile."""
    execution = current.get()
    if execution is not None and execution["status"] != "RUNNING":
        raise Ended


def now() -> str:
    """The time as Step Functions' descriptions have it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def mend(wake: Callable[[str | None], None]) -> None:
    """Let ends be final. `wake` ends the waiting of an ended execution's tasks, given its ARN."""
    from ministack.services import stepfunctions as states

    run = states._run_execution
    stop = states._stop_execution
    branch = states._run_sub_machine
    add = states._add_event
    sleep = states._scaled_sleep

    @functools.wraps(run)
    def running(exec_arn: str) -> None:
        execution = states._executions.get(exec_arn)
        if execution is None:
            return
        current.set(execution)
        with _time_limit(execution, wake):
            try:
                run(exec_arn)
            except Ended:
                return

    @functools.wraps(stop)
    def stopping(data: dict[str, Any]) -> Any:
        answer = stop(data)
        wake(data.get("executionArn"))
        return answer

    @functools.wraps(branch)
    def branching(*args: Any) -> Any:
        try:
            return branch(*args)
        except Ended:
            # On a thread of its own; the execution's thread finds out by itself.
            return None

    # Every attempt of a task, and every state outside a branch, begins with an event of its own.
    @functools.wraps(add)
    def adding(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
        if execution["events"] and execution["events"][-1]["type"] in _ENDS:
            raise Ended
        return add(execution, event_type, details)

    def failing(execution: dict[str, Any], error: str, cause: str) -> None:
        _end(execution, "FAILED", error, cause)

    @functools.wraps(sleep)
    def sleeping(seconds: float) -> None:
        sleep(seconds)
        still_running()

    states._run_execution = running
    states._stop_execution = stopping
    states._run_sub_machine = branching
    states._add_event = adding
    states._fail_execution = failing
    states._scaled_sleep = sleeping


@contextmanager
def _time_limit(execution: dict[str, Any], wake: Callable[[str | None], None]) -> Iterator[None]:
    from ministack.services import stepfunctions as states

    machine = states._state_machines.get(execution["stateMachineArn"]) or {}
    try:
        seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
    except json.JSONDecodeError:
        seconds = None
    if seconds is None:
        yield
        return
    # A timer thread starts without this thread's account and region.
    context = contextvars.copy_context()
    timer = threading.Timer(seconds, lambda: context.run(_time_out, execution, wake))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _time_out(execution: dict[str, Any], wake: Callable[[str | None], None]) -> None:
    _end(execution, "TIMED_OUT", "States.Timeout", None)
    wake(execution["executionArn"])


def _end(execution: dict[str, Any], status: str, error: str, cause: str | None) -> None:
    """End an execution that still runs: first its record, then its history, then everybody is told."""
    from ministack.services import stepfunctions as states

    if execution["status"] != "RUNNING":
        return
    execution.update(error=error, cause=cause, stopDate=now())
    execution["status"] = status
    event = {"FAILED": "ExecutionFailed", "TIMED_OUT": "ExecutionTimedOut"}[status]
    told = {"error": error, **({"cause": cause} if cause else {})}
    states._add_event(execution, event, {f"{event[0].lower()}{event[1:]}EventDetails": told})
    states._emit_execution_status_event(execution)
