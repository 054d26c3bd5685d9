"""An execution's life: one that has ended runs no further.

On AWS StopExecution leaves an execution ABORTED and the machine's TimeoutSeconds leaves it TIMED_OUT, past
any Retry and Catch. In MiniStack a stopped execution goes on and may end as something else, and a machine
has no time limit.
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
"""

import contextvars
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

current: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "current_execution", default=None
)
"""MiniStack's record of the execution that this thread runs a state of."""


class Ended(BaseException):
    """Unwinds an execution that was stopped or timed out, past any Retry and Catch."""


def still_running() -> None:
    """Raise Ended when the current execution has ended meanwhile."""
    execution = current.get()
    if execution is not None and execution["status"] != "RUNNING":
        raise Ended


def now() -> str:
    """The time as Step Functions' descriptions have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


def mend(wake: Callable[[str | None], None]) -> None:
    """Let ends be final. `wake` ends the waiting of an ended execution's tasks, given its ARN."""
    from ministack.services import stepfunctions as states

    run = states._run_execution
    stop = states._stop_execution
    fail = states._fail_execution
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

    @functools.wraps(fail)
    def failing(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    @functools.wraps(sleep)
    def sleeping(seconds: float) -> None:
        sleep(seconds)
        still_running()

    states._run_execution = running
    states._stop_execution = stopping
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
    from ministack.services import stepfunctions as states

    if execution["status"] != "RUNNING":
        return
    execution["status"] = "TIMED_OUT"
    execution["stopDate"] = now()
    execution["error"] = "States.Timeout"
    states._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
    states._emit_execution_status_event(execution)
    wake(execution["executionArn"])
