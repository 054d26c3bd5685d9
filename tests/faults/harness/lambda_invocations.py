"""Invocations of functions: planned failures, and the end of all invocations between two tests."""

import contextvars
import time
from typing import Any

from tests.faults.harness import lambda_processes
from tests.faults.harness.fault_plan import FaultPlan

_GRACE_SECONDS = 0.5
"""How long an invocation may run on after its test before its process is killed. A new process costs more."""
_KILL_SECONDS = 60.0


class Invocations:
    """The invocations of all functions. Creating it patches MiniStack's Lambda."""

    def __init__(self, plan: FaultPlan) -> None:
        from ministack.services import lambda_svc

        self._plan = plan
        self._running: set[object] = set()
        self._test = 0
        self._invoked_in: contextvars.ContextVar[int | None] = contextvars.ContextVar("test", default=None)
        self._invoke_async = lambda_svc.invoke_async_with_retry
        self._execute = lambda_svc._execute_function
        lambda_svc.invoke_async_with_retry = self._invoke_async_in_test
        lambda_svc._execute_function = self._execute_in_test

    def in_flight(self) -> int:
        """Return how many invocations run."""
        return len(self._running)

    def wait_for_running(self) -> None:
        """Wait until every invocation that runs now has ended."""
        running = set(self._running)
        while running & self._running:
            time.sleep(0.005)

    def end_all(self) -> None:
        """Wait for the running invocations, kill those that do not end, and retry none of them."""
        self._test += 1
        if not self._ended_within(_GRACE_SECONDS):
            lambda_processes.kill_busy()
            self._ended_within(_KILL_SECONDS)

    def _invoke_async_in_test(self, func: dict[str, Any], event: Any) -> None:
        token = self._invoked_in.set(self._test)
        self._invoke_async(func, event)  # The thread of the invocation gets a copy of this context.
        self._invoked_in.reset(token)

    def _execute_in_test(self, func: dict[str, Any], event: Any) -> dict[str, Any]:
        if self._invoked_in.get() not in (None, self._test):
            return {"body": None}
        if self._plan.has("invocation"):
            fault = self._plan.take("invocation", lambda_processes.names(func.get("config") or func))
            if fault is not None:
                body = {"errorType": fault["error"], "errorMessage": "As planned by a test."}
                return {"error": True, "body": body}
        invocation = object()
        self._running.add(invocation)
        try:
            result: dict[str, Any] = self._execute(func, event)
        finally:
            self._running.discard(invocation)
        return result

    def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._running:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True
