"""Nothing of one test is left for the next: done inside the server, because hundreds of tests ask for it."""

import contextvars
import functools
import time
from typing import Any

from localcloud.ministack.step_functions import executions
from tests.faults import workers

_PATIENCE = 0.5
"""Seconds an invocation has to end by itself; a new process for its function takes longer than that."""


class Invocations:
    """The functions' invocations, and whose time they are of: those of a former test are not tried again."""

    def __init__(self) -> None:
        from ministack.services import lambda_svc

        self._functions = lambda_svc
        self._round = 0
        self._of: contextvars.ContextVar[int] = contextvars.ContextVar("invocation's round", default=0)
        invoke = lambda_svc.invoke_async_with_retry
        execute = lambda_svc._execute_function

        @functools.wraps(invoke)
        def invoking(func: dict[str, Any], event: Any) -> None:
            token = self._of.set(self._round)
            invoke(func, event)  # It copies the context for its thread.
            self._of.reset(token)

        @functools.wraps(execute)
        def executing(func: dict[str, Any], event: Any) -> dict[str, Any]:
            if self._of.get() not in (0, self._round):
                return {"body": None}
            result: dict[str, Any] = execute(func, event)
            return result

        lambda_svc.invoke_async_with_retry = invoking
        lambda_svc._execute_function = executing

    def end(self) -> None:
        """Wait for those that run, and kill those that go on."""
        self._round += 1
        if not self._over(_PATIENCE):
            workers.kill_busy()
            self._over(10 * _PATIENCE)

    def _over(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._functions.executions_in_flight()[0]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True


def time_out(arn: str) -> None:
    """End the execution as its machine's TimeoutSeconds would. Raises KeyError when there is none of that ARN."""
    from ministack.services import stepfunctions as states

    executions._time_out(states._executions[arn], _tokens().wake)


def end_executions() -> None:
    """Abort every execution that runs, and forget them all."""
    from ministack.services import stepfunctions as states

    for arn, execution in list(states._executions.items()):
        if execution["status"] == "RUNNING":
            execution["status"] = "ABORTED"
            execution["stopDate"] = executions.now()
            _tokens().wake(arn)
    states._executions.clear()


def empty(keep: list[str]) -> None:
    """Remove the items of every table, and every object but for those whose keys begin with one of `keep`."""
    from ministack.services import dynamodb, eventbridge, s3

    for table in dynamodb._tables.values():
        table["items"].clear()
        dynamodb._items_replaced(table)
    eventbridge._events_log_list().clear()
    kept = tuple(keep)
    for bucket, key in list(s3._object_versions):
        if not key.startswith(kept):
            for version in list(s3._object_versions[bucket, key]):
                s3._delete_object_version(s3._buckets[bucket], bucket, key, version["version_id"])
    for bucket, record in s3._buckets.items():
        for key in [key for key in record["objects"] if not key.startswith(kept)]:
            s3._purge_current_object(bucket, key, record)


def _tokens() -> Any:
    from ministack.services import stepfunctions as states

    return states._invoke_with_callback.__self__
