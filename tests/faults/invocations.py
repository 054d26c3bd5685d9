"""Functions' invocations: some fail before the function runs, and none of a former test goes on."""

import contextvars
import time
from typing import Any

from tests.faults import workers
from tests.faults.matching import Plan

_PATIENCE = 0.5
"""Seconds an invocation has to end by itself; a new process for its function may take longer than that."""


class Invocations:
    """Sets itself into MiniStack's Lambda."""

    def __init__(self, plan: Plan) -> None:
        from ministack.services import lambda_svc

        self._functions = lambda_svc
        self._plan = plan
        self._round = 0
        self._asked_in: contextvars.ContextVar[int | None] = contextvars.ContextVar("round", default=None)
        self._invoke_later = lambda_svc.invoke_async_with_retry
        self._execute = lambda_svc._execute_function
        lambda_svc.invoke_async_with_retry = self._invoking_later
        lambda_svc._execute_function = self._executing

    def at_work(self) -> int:
        """How many run."""
        in_flight: int = self._functions.executions_in_flight()[0]
        return in_flight

    def end(self) -> None:
        """Wait for those that run, kill those that go on, and let nothing be tried again."""
        self._round += 1
        if not self._over(_PATIENCE):
            workers.kill_busy()
            self._over(10 * _PATIENCE)

    def _invoking_later(self, func: dict[str, Any], event: Any) -> None:
        token = self._asked_in.set(self._round)
        self._invoke_later(func, event)  # Its thread gets a copy of this context.
        self._asked_in.reset(token)

    def _executing(self, func: dict[str, Any], event: Any) -> dict[str, Any]:
        if self._asked_in.get() not in (None, self._round):
            return {"body": None}
        config = func.get("config") or func
        if self._plan.waits("invocation"):
            fault = self._plan.take("invocation", workers.names_of(config))
            if fault is not None:
                body = {"errorType": fault["error"], "errorMessage": "As planned by a test."}
                return {"error": True, "body": body}
        result: dict[str, Any] = self._execute(func, event)
        return result

    def _over(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.at_work():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True
