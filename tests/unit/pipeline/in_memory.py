"""An AWS service in memory behind a real boto3 client, which checks parameters and parses responses."""

import functools
from collections.abc import Callable
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config


class InMemory:
    """The base class of the services; `calls` lists the operations that were called."""

    SERVICE = ""
    READS: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._meanwhile: list[Callable[[], object]] = []
        self._interrupted = False
        self.client = client(self.SERVICE)
        self.client.meta.events.register_first(f"before-call.{self.SERVICE}.*", self._interrupt)

    def meanwhile(self, *actions: Callable[[], object]) -> None:
        """Run each action right before one of the next writes, after the caller has read what it needs.

        The writes of an action are not interrupted themselves. Actions of an earlier call are dropped.
        """
        self._meanwhile = list(actions)

    def _interrupt(self, model: Any, **_: Any) -> None:
        self.calls.append(model.name)
        if model.name not in self.READS and self._meanwhile and not self._interrupted:
            self._interrupted = True
            self._meanwhile.pop(0)()
            self._interrupted = False


def client(service: str) -> Any:
    """Return a new client of a service, whose requests are not signed."""
    return _session().client(service, config=Config(signature_version=UNSIGNED))


@functools.cache
def _session() -> Any:
    return boto3.Session("id", "secret", region_name="eu-west-1")
