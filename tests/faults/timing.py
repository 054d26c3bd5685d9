"""Waiting for a task's token takes a twentieth of its time at most, and for an execution's start none.

A lost event is made up for after the wait for a token, and a test of it is not to take minutes. The pauses
before retries are scaled by SFN_WAIT_SCALE, and more than this wait is. A Wait state's time is scaled less
than they are: it is there for what takes its time here too, a function of an aborted execution that comes to
its end, or an upload.
"""

import contextvars
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

from localcloud.ministack.step_functions import task_tokens

SCALE = 0.05
LONGER = 7
"""A Wait state's time, as against a retry's pause of as many seconds."""
_START = 0.15
"""Seconds MiniStack lets pass before an execution's first state; AWS has no such pause."""


class TokenWaits:
    """Sets itself into the state machines. `seconds`: the longest wait, if a test wants it short.

    The wait begins when the function has answered, which may take longer than a scaled wait: its time is not
    scaled. Else a slow machine would have it asked again and again before its first answer.
    """

    def __init__(self) -> None:
        from ministack.services import stepfunctions

        self.seconds: float | None = None
        self._answered: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("answered")
        self._limit = task_tokens.time_limit
        self._call = stepfunctions._call_lambda
        task_tokens.time_limit = self._scaled
        stepfunctions._call_lambda = self._calling
        stepfunctions._invoke_with_callback = self._noting(stepfunctions._invoke_with_callback)

    def _noting(self, invoke: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(invoke)
        def invoking(*task: Any) -> Any:
            # The thread that calls the function gets a copy of this context.
            self._answered.set(threading.Event())
            return invoke(*task)

        return invoking

    def _calling(self, function: Any, event: Any) -> Any:
        try:
            return self._call(function, event)
        finally:
            self._answered.get(threading.Event()).set()

    def _scaled(self, seconds: Any) -> float | None:
        self._answered.get().wait()
        limit = self._limit(seconds)
        if limit is None or self.seconds is None:
            return None if limit is None else limit * SCALE
        return min(limit * SCALE, self.seconds)


class _Clock:
    """The module `time`, without the pause before an execution."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        if seconds != _START:
            time.sleep(seconds)


def wait_longer() -> None:
    """Let Wait states wait LONGER."""
    from ministack.services import stepfunctions

    seconds = stepfunctions._jsonata_wait_seconds
    stepfunctions._jsonata_wait_seconds = lambda *asked: LONGER * seconds(*asked)


def start_at_once() -> None:
    """Let executions begin when they are started."""
    from ministack.services import stepfunctions

    stepfunctions.time = _Clock()
