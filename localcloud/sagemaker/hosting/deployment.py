"""One endpoint configuration brought to life: a fleet per production variant, and requests routed among them.

An endpoint has one deployment that serves and, while it is updated, a second one that is started and takes
over by and by. A request holds the deployment it was routed to until it is answered, so whichever fleet has
to go ends only when its last request has.
"""

import random
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from localcloud.sagemaker.hosting.endpoint_configs import EndpointConfig
from localcloud.sagemaker.hosting.models import Model
from localcloud.sagemaker.processes.fleet import FleetLaunch, InvocationResult

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
class Size:
    """A variant's weight among the variants, and how many instances it has."""

    weight: float
    instance_count: int


@dataclass(frozen=True)
class Variant:
    """A production variant and the fleet that serves it."""

    config: dict[str, Any]
    model: Model
    fleet: Fleet
    size: Size
    resolved: datetime

    @property
    def name(self) -> str:
        name: str = self.config["VariantName"]
        return name

    @property
    def serverless(self) -> dict[str, Any] | None:
        """Its ServerlessConfig; None when it is of instances."""
        return self.config.get("ServerlessConfig")

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
    """The fleets of one configuration."""

    def __init__(
        self, endpoint: str, config: EndpointConfig, variants: list[Variant], directory: Path
    ) -> None:
        self.endpoint = endpoint
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
        weights = [variant.size.weight for variant in self.variants]
        if sum(weights) <= 0:
            return None
        return random.choices(self.variants, weights)[0]  # noqa: S311 - routing, not secrecy


def sizes(config: EndpointConfig, retained: Mapping[str, Mapping[str, Any]]) -> dict[str, Size]:
    """By variant, what the configuration says, unless `retained` has a DesiredWeight or DesiredInstanceCount
    for it.
    """
    found = {}
    for variant in config.variants:
        kept = retained.get(variant["VariantName"], {})
        found[variant["VariantName"]] = Size(
            weight=kept.get("DesiredWeight", variant["InitialVariantWeight"]),
            instance_count=kept.get("DesiredInstanceCount", variant.get("InitialInstanceCount", 1)),
        )
    return found


def deploy(
    config: EndpointConfig,
    models: Mapping[str, Model],
    environments: Mapping[str, dict[str, str]],
    factory: FleetFactory,
    *,
    sizes: Mapping[str, Size],
    endpoint: str,
    directory: Path,
    log: Log,
    moment: datetime,
) -> Deployment:
    """A deployment of the configuration, not started yet.

    `models` and `sizes` are by variant, `environments` by role.
    """
    variants = []
    for variant in config.variants:
        name = variant["VariantName"]
        model, size = models[name], sizes[name]
        launch = FleetLaunch(
            endpoint_name=endpoint,
            variant_name=name,
            model_name=model.name,
            container=model.container,
            instance_count=size.instance_count,
            directory=directory / name,
            environment=environments[model.role],
            log=log,
        )
        variants.append(Variant(variant, model, factory(launch), size, moment))
    return Deployment(endpoint, config, variants, directory)
