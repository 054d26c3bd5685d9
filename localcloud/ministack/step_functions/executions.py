"""The end of an execution.

AWS: StopExecution ends an execution as ABORTED, and the state machine's TimeoutSeconds ends it as TIMED_OUT,
whatever its Retry and Catch say. The children of its distributed Maps end as ABORTED. Nothing follows in its
history. Only an execution that succeeded has an output.
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
MiniStack: a stopped execution continues and may end with another status. Its history continues as well. The
output of a failed execution is its error. TimeoutSeconds of a state machine is ignored.
Here: a thread that runs an ended execution raises `Ended`, and TimeoutSeconds starts a timer.
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
"""MiniStack's record of the execution that this thread runs."""

_ENDS = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
"""The last event of a history."""

PARENT = "parentExecutionArn"
"""In the record of a child of a distributed Map: the execution that runs the Map."""


class Ended(BaseException):
    """The execution was stopped or timed out. Retry and Catch do not see it: it is no Exception."""


def raise_if_ended() -> None:
    """Raise Ended if the current execution has ended."""
    execution = current.get()
    if execution is not None and execution["status"] != "RUNNING":
        raise Ended


def machine_of(execution: dict[str, Any]) -> dict[str, Any]:
    """Return MiniStack's record of the execution's state machine, or an empty one.

    The state machine of a distributed Map's child has the Map's label after its name. It is a part of the
    whole state machine, and has no record of its own.
    """
    from ministack.services import stepfunctions as states

    return states._state_machines.get(execution.get("stateMachineArn", "").partition("/")[0]) or {}


def now() -> str:
    """Return the time in the format of Step Functions' responses."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def patch(wake: Callable[[str | None], None]) -> None:
    """Stop the threads of executions that have ended.

    Args:
        wake: Ends the waits for task tokens of an ended execution, by the execution's ARN.
    """
    from ministack.services import stepfunctions as states

    run = states._run_execution
    stop = states._stop_execution
    run_branch = states._run_sub_machine
    add = states._add_event
    sleep = states._scaled_sleep

    @functools.wraps(run)
    def run_until_ended(exec_arn: str) -> None:
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
    def stop_and_wake(data: dict[str, Any]) -> Any:
        response = stop(data)
        execution = states._executions.get(data.get("executionArn"))
        if execution is not None and execution["status"] != "RUNNING":
            abort_children(execution["executionArn"])
        wake(data.get("executionArn"))
        return response

    @functools.wraps(run_branch)
    def run_branch_until_ended(*args: Any) -> Any:
        try:
            return run_branch(*args)
        except Ended:
            # A branch has a thread of its own. The execution's thread notices the end by itself.
            return None

    # Every attempt of a task, and every state outside a branch of a Parallel state, adds an event to the
    # history when it starts.
    @functools.wraps(add)
    def add_unless_ended(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
        if execution["events"] and execution["events"][-1]["type"] in _ENDS:
            raise Ended
        return add(execution, event_type, details)

    def fail(execution: dict[str, Any], error: str, cause: str) -> None:
        end(execution, "FAILED", error=error, cause=cause)

    @functools.wraps(sleep)
    def sleep_unless_ended(seconds: float) -> None:
        sleep(seconds)
        raise_if_ended()

    states._run_execution = run_until_ended
    states._stop_execution = stop_and_wake
    states._run_sub_machine = run_branch_until_ended
    states._add_event = add_unless_ended
    states._fail_execution = fail
    states._scaled_sleep = sleep_unless_ended


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
    # The timer's thread does not inherit the account and region of this thread.
    context = contextvars.copy_context()
    timer = threading.Timer(seconds, lambda: context.run(_time_out, execution, wake))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _time_out(execution: dict[str, Any], wake: Callable[[str | None], None]) -> None:
    end(execution, "TIMED_OUT", error="States.Timeout")
    abort_children(execution["executionArn"])
    wake(execution["executionArn"])


def abort_children(parent: str) -> None:
    """End the running children of an execution's distributed Maps as ABORTED."""
    from ministack.services import stepfunctions as states

    for execution in list(states._executions.values()):
        if execution.get(PARENT) == parent:
            end(execution, "ABORTED")


def end(
    execution: dict[str, Any],
    status: str,
    *,
    error: str | None = None,
    cause: str | None = None,
    output: str | None = None,
) -> None:
    """End a running execution: first its record, then its history, then the event about it."""
    from ministack.services import stepfunctions as states

    if execution["status"] != "RUNNING":
        return
    execution.update(error=error, cause=cause, output=output, stopDate=now())
    execution["status"] = status
    event = {
        "SUCCEEDED": "ExecutionSucceeded",
        "FAILED": "ExecutionFailed",
        "ABORTED": "ExecutionAborted",
        "TIMED_OUT": "ExecutionTimedOut",
    }[status]
    details = {name: text for name, text in (("error", error), ("cause", cause), ("output", output)) if text}
    states._add_event(execution, event, {f"{event[0].lower()}{event[1:]}EventDetails": details})
    states._emit_execution_status_event(execution)
