"""The running fleets of one endpoint config, and the routing of requests among them.

An endpoint has one deployment that serves. During an update it has a second one, which takes over step by
step. A request holds its deployment until the response, so a fleet ends only after its last request.
"""

import random
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from localcloud.sagemaker.processes.instance import InvocationResult

PING_TIMEOUT = 480.0
"""Seconds a container has to respond to /ping, unless the variant says otherwise."""
DOWNLOAD_TIMEOUT = 600.0
"""Seconds for the download of the model data, unless the variant says otherwise."""


def startup(variant: Mapping[str, Any]) -> float:
    """Return how many seconds a variant's container has until /ping returns 200."""
    seconds: float = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", PING_TIMEOUT)
    return seconds


class Fleet(Protocol):
    """The processes of one variant; see `processes.fleet.Fleet`."""

    def start(self) -> None:
        """Start the instances; return immediately."""

    def wait_ready(self, timeout: float) -> None:
        """Wait until every instance is ready."""

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult | None:
        """Send one request to an instance; return None if none is in service."""

    def stop(self, drain: float = ...) -> None:
        """Finish the requests in flight, then end every process."""


@dataclass(frozen=True)
class Size:
    """A variant's weight among the variants, and its number of instances."""

    weight: float
    instance_count: int


@dataclass(frozen=True)
class Variant:
    """A production variant and the fleet that serves it.

    config: the variant's entry in the endpoint config.
    image: the URI of the container image.
    resolved: when the image was resolved.
    """

    config: dict[str, Any]
    image: str
    fleet: Fleet
    size: Size
    resolved: datetime

    @property
    def name(self) -> str:
        """The variant's name."""
        return str(self.config["VariantName"])

    @property
    def serverless(self) -> dict[str, Any] | None:
        """Its ServerlessConfig, or None if it has instances."""
        return self.config.get("ServerlessConfig")

    @property
    def timeout(self) -> float:
        """Seconds until the fleet must be ready."""
        download: float = self.config.get("ModelDataDownloadTimeoutInSeconds", DOWNLOAD_TIMEOUT)
        return startup(self.config) + download

    def summary(self) -> dict[str, Any]:
        """Return the variant's entry in DescribeEndpoint."""
        summary: dict[str, Any] = {
            "VariantName": self.name,
            "DeployedImages": [
                {"SpecifiedImage": self.image, "ResolvedImage": self.image, "ResolutionTime": self.resolved}
            ],
            "CurrentWeight": self.size.weight,
            "DesiredWeight": self.size.weight,
        }
        if self.serverless:
            return summary | {
                "CurrentServerlessConfig": self.serverless,
                "DesiredServerlessConfig": self.serverless,
            }
        return summary | {
            "CurrentInstanceCount": self.size.instance_count,
            "DesiredInstanceCount": self.size.instance_count,
        }


class Deployment:
    """The fleets of one endpoint config."""

    def __init__(self, endpoint: str, config_name: str, variants: list[Variant], directory: Path) -> None:
        self.endpoint = endpoint
        self.config_name = config_name
        self.variants = variants
        self._directory = directory
        self._requests = 0
        self._idle = threading.Condition()

    def start(self) -> None:
        """Start every fleet and wait until all are ready; raise FleetFailed for the first that fails."""
        for variant in self.variants:
            variant.fleet.start()
        for variant in self.variants:
            variant.fleet.wait_ready(variant.timeout)

    def stop(self, drain: float) -> None:
        """Wait up to `drain` seconds for the requests in flight, then end every fleet."""
        with self._idle:
            self._idle.wait_for(lambda: self._requests == 0, drain)
        threads = [threading.Thread(target=variant.fleet.stop, args=(0.0,)) for variant in self.variants]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    def hold(self) -> None:
        """Count a request that will be sent here; `released` ends it."""
        with self._idle:
            self._requests += 1

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release, on exit, a request that `hold` has counted."""
        try:
            yield
        finally:
            with self._idle:
                self._requests -= 1
                self._idle.notify_all()

    def variant(self, target: str | None) -> Variant | None:
        """Return the variant named `target`, or by default one drawn by the weights; None if none fits."""
        if target is not None:
            return next((variant for variant in self.variants if variant.name == target), None)
        weights = [variant.size.weight for variant in self.variants]
        if sum(weights) <= 0:
            return None
        return random.choices(self.variants, weights)[0]  # noqa: S311 - routing, not secrecy
