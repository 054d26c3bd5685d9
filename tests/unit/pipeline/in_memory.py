"""An AWS service in memory behind a real boto3 client.

boto3 still checks every parameter and reads every answer; a subclass answers in the place of the network, one
method for each operation that it knows.
"""

import copy
import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import boto3


class Refusal(Exception):
    """The service's error: its code, and its message."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class InMemory:
    """`calls` lists the operations; `meanwhile` lets something happen right before the next that writes."""

    SERVICE = ""
    READS: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._meanwhile: list[Callable[[], object]] = []
        self.client = _session().client(self.SERVICE)
        events: Any = self.client.meta.events
        events.register_first(f"before-parameter-build.{self.SERVICE}.*", self._remember)
        events.register(f"before-call.{self.SERVICE}.*", self._answered)

    def meanwhile(self, *actions: Callable[[], object]) -> None:
        """Let these happen, one right before each of the next writes: after what their makers have read."""
        self._meanwhile += actions

    def _remember(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = copy.deepcopy(params)

    def _answered(self, model: Any, context: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        self.calls.append(model.name)
        if model.name not in self.READS and self._meanwhile:
            self._meanwhile.pop(0)()
        operation = getattr(self, f"_{model.name}", None)
        try:
            if operation is None:
                raise Refusal("UnknownOperationException", f"{self.SERVICE} in memory has no {model.name}")
            answer, status = operation(context["asked"]), 200
        except Refusal as refusal:
            answer, status = {"Error": {"Code": refusal.code, "Message": str(refusal)}}, 400
        return SimpleNamespace(status_code=status), {**answer, "ResponseMetadata": {"HTTPStatusCode": status}}


@functools.cache
def _session() -> Any:
    return boto3.Session("id", "secret", region_name="eu-west-1")
