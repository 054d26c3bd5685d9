"""A production variant as processes: one inference server per instance, restarted when one dies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FleetLaunch:
    """What one variant's fleet needs to run.

    container: the model's PrimaryContainer: Image, ModelDataUrl, Environment.
    directory: the fleet's own; made by it, removed by stop.
    environment: AWS_* variables of a process acting as the model's execution role, as for TrainingLaunch.
    log: called with (stream, epoch ms, line) for each line an instance prints; stream is "<variant>/<instance id>".
    """

    endpoint_name: str
    variant_name: str
    model_name: str
    container: Mapping[str, Any]
    instance_count: int
    directory: Path
    environment: Mapping[str, str]
    log: Callable[[str, int, str], None]


@dataclass(frozen=True)
class InvocationResult:
    """A container's answer. A status other than 200 is what InvokeEndpoint reports as ModelError (HTTP 424);
    0 stands for no answer in time."""

    status: int
    content_type: str
    body: bytes


class FleetFailed(Exception):
    """The fleet cannot serve; the message is the endpoint's FailureReason."""


class Fleet:
    """The instances of one production variant."""

    def __init__(self, launch: FleetLaunch) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Begin to download and to start the instances; returns at once."""

    def wait_ready(self, timeout: float) -> None:
        """Block until every instance has answered /ping; raises FleetFailed. The caller then calls stop."""

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult:
        """Answer one request on one instance, in turn; blocks up to 60 s, and never raises for what a model does."""
        raise NotImplementedError

    def stop(self, drain: float = 10.0) -> None:
        """Let requests in flight end for up to drain seconds, end every process and remove the directory; blocks."""
