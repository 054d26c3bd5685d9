"""Time limits and pauses of state machines, short enough for tests and correct on a slow machine.

SFN_WAIT_SCALE shortens the pauses before retries and of Wait states. Functions are as slow as the machine, so
two times must not be shorter than a function:

- A task waits for its token for a twentieth of its time limit, from the moment when its function has
returned.
  Otherwise a slow machine would run into the limit again and again before the function's first response.
- A Wait state ends after the invocations that ran when it began. On AWS the cleanup waits longer than any
  function of an aborted execution can run.
"""

import contextvars
import functools
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from localcloud.ministack.step_functions import task_tokens, tasks

_SCALE = 0.05
_START_PAUSE = 0.15
"""MiniStack pauses so many seconds before an execution's first state. AWS has no such pause."""


class TokenWaits:
    """The waits for task tokens. Creating it patches the state machines."""

    def __init__(self) -> None:
        from ministack.services import stepfunctions

        self.limit: float | None = None
        """The longest wait in seconds, if a test sets one."""
        self._returned: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("returned")
        self._time_limit = tasks.time_limit
        self._call = stepfunctions._call_lambda
        vars(task_tokens)["time_limit"] = self._scaled
        stepfunctions._call_lambda = self._call_and_note_return
        stepfunctions._invoke_with_callback = self._with_event(stepfunctions._invoke_with_callback)

    def _with_event(self, invoke: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(invoke)
        def invoke_with_event(*task: Any) -> Any:
            # The thread that calls the function gets a copy of this context.
            self._returned.set(threading.Event())
            return invoke(*task)

        return invoke_with_event

    def _call_and_note_return(self, function: Any, event: Any) -> Any:
        try:
            return self._call(function, event)
        finally:
            self._returned.get(threading.Event()).set()

    def _scaled(self, seconds: Any) -> float | None:
        self._returned.get().wait()
        time_limit = self._time_limit(seconds)
        return None if time_limit is None else min(time_limit * _SCALE, self.limit or math.inf)


class _TimeWithoutStartPause:
    """The module `time`, whose `sleep` skips the pause before an execution."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        if seconds != _START_PAUSE:
            time.sleep(seconds)


def patch(wait_for_functions: Callable[[], None]) -> None:
    """Let Wait states call `wait_for_functions`, and let executions begin without a pause."""
    from ministack.services import stepfunctions

    wait_seconds = stepfunctions._jsonata_wait_seconds

    def wait_seconds_after_functions(*state: Any) -> float:
        wait_for_functions()
        return float(wait_seconds(*state))

    stepfunctions._jsonata_wait_seconds = wait_seconds_after_functions
    stepfunctions.time = _TimeWithoutStartPause()
