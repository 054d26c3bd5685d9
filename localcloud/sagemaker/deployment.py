"""One endpoint configuration brought to life: a fleet per production variant, and requests routed among them.

An endpoint has one deployment that serves and, while it is updated, a second one that is being started. A
request holds the deployment it was routed to until it is answered, so the old fleet ends only when its last
request has.
"""

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from localcloud.sagemaker.endpoint_configs import EndpointConfig
from localcloud.sagemaker.hosting import FleetLaunch, InvocationResult
from localcloud.sagemaker.models import Model

PING_TIMEOUT = 480.0  # seconds a container has to answer /ping, when the variant does not say
DOWNLOAD_TIMEOUT = 600.0  # seconds for the model's data, likewise
INVOCATION_TIMEOUT = 60.0  # seconds: SageMaker's limit for one invocation


class Fleet(Protocol):
    """What this module needs of a fleet (`hosting.Fleet`)."""

    def start(self) -> None: ...

    def wait_ready(self, timeout: float) -> None: ...

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult: ...

    def stop(self, drain: float = ...) -> None: ...


FleetFactory = Callable[[FleetLaunch], Fleet]
Log = Callable[[str, int, str], None]


@dataclass(frozen=True)
class Variant:
    """A production variant and the fleet that serves it."""

    config: dict[str, Any]
    model: Model
    fleet: Fleet
    weight: float
    instance_count: int
    resolved: datetime

    @property
    def name(self) -> str:
        name: str = self.config["VariantName"]
        return name

    @property
    def timeout(self) -> float:
        """Seconds until the fleet must be ready."""
        ping: float = self.config.get("ContainerStartupHealthCheckTimeoutInSeconds", PING_TIMEOUT)
        download: float = self.config.get("ModelDataDownloadTimeoutInSeconds", DOWNLOAD_TIMEOUT)
        return ping + download

    def summary(self) -> dict[str, Any]:
        """As DescribeEndpoint lists a variant that serves."""
        image = self.model.container["Image"]
        summary: dict[str, Any] = {
            "VariantName": self.name,
            "DeployedImages": [
                {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": self.resolved}
            ],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": self.instance_count,
            "DesiredInstanceCount": self.instance_count,
        }
        if "ServerlessConfig" in self.config:
            summary["CurrentServerlessConfig"] = summary["DesiredServerlessConfig"] = self.config[
                "ServerlessConfig"
            ]
            del summary["CurrentInstanceCount"], summary["DesiredInstanceCount"]
        return summary


class Deployment:
    """The fleets of one configuration."""

    def __init__(self, config: EndpointConfig, variants: list[Variant], directory: Path) -> None:
        self.config = config
        self.variants = variants
        self._directory = directory
        self._requests = 0
        self._idle = threading.Condition()

    def start(self) -> None:
        """Start every fleet and wait until all are ready; raises FleetFailed for the first that is not."""
        for variant in self.variants:
            variant.fleet.start()
        for variant in self.variants:
            variant.fleet.wait_ready(variant.timeout)

    def stop(self, drain: float) -> None:
        """Wait up to `drain` seconds for the requests under way, then end every fleet."""
        with self._idle:
            self._idle.wait_for(lambda: self._requests == 0, drain)
        threads = [threading.Thread(target=variant.fleet.stop, args=(0.0,)) for variant in self.variants]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    def hold(self) -> None:
        """Count a request that is about to be routed here; `released` ends it."""
        with self._idle:
            self._requests += 1

    @contextmanager
    def released(self) -> Iterator[None]:
        """The span of a request counted by `hold`."""
        try:
            yield
        finally:
            with self._idle:
                self._requests -= 1
                self._idle.notify_all()

    def variant(self, target: str | None) -> Variant | None:
        """The variant asked for, else one drawn by the weights; None when none fits."""
        if target is not None:
            return next((variant for variant in self.variants if variant.name == target), None)
        weights = [variant.weight for variant in self.variants]
        if sum(weights) <= 0:
            return None
        return random.choices(self.variants, weights)[0]  # noqa: S311 - routing, not secrecy


def deploy(
    config: EndpointConfig,
    models: dict[str, Model],
    environments: dict[str, dict[str, str]],
    factory: FleetFactory,
    *,
    endpoint: str,
    directory: Path,
    log: Log,
    retained: dict[str, dict[str, Any]],
    moment: datetime,
) -> Deployment:
    """A deployment of the configuration, not started yet.

    `models` are by variant, `environments` by role. `retained` holds, by variant, the weight and the instance
    count to keep from the deployment that serves now.
    """
    variants = []
    for variant in config.variants:
        name, model = variant["VariantName"], models[variant["VariantName"]]
        kept = retained.get(name, {})
        count = kept.get("DesiredInstanceCount", variant.get("InitialInstanceCount", 1))
        launch = FleetLaunch(
            endpoint_name=endpoint,
            variant_name=name,
            model_name=model.name,
            container=model.container,
            instance_count=count,
            directory=directory / name,
            environment=environments[model.role],
            log=log,
        )
        weight = kept.get("DesiredWeight", variant["InitialVariantWeight"])
        variants.append(Variant(variant, model, factory(launch), weight, count, moment))
    return Deployment(config, variants, directory)
