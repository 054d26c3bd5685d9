"""The services that the local cloud adds to MiniStack, once for each region that a request names."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from localcloud.application_autoscaling.records import ScalableTargets
from localcloud.application_autoscaling.service import ApplicationAutoScaling
from localcloud.ministack import MiniStack
from localcloud.sagemaker.api.protocol import Response
from localcloud.sagemaker.core.host import Host
from localcloud.sagemaker.hosting.scaling import ServedVariant, Targets


class Service(Protocol):
    """The methods of the SageMaker service that the server calls."""

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        """Return the response to a request."""

    def variant(self, endpoint: str, name: str) -> ServedVariant | None:
        """Return an endpoint's variant, or None if it does not exist."""

    def tags(self) -> list[tuple[str, list[dict[str, str]]]]:
        """Return the ARN of each resource that has tags, with its tags."""

    def close(self) -> None:
        """End every process of every job and endpoint."""


ServiceFactory = Callable[[Host, Path, Targets], Service]


class Regions:
    """SageMaker and Application Auto Scaling. A region's services are created with its first request."""

    def __init__(self, stack: MiniStack, directory: Path, factory: ServiceFactory) -> None:
        """Create the default region's services, and have MiniStack pass on the requests to them.

        Args:
            stack: The cloud around the services.
            directory: The folder with a folder for each region.
            factory: Creates a region's SageMaker.
        """
        self._stack = stack
        self._directory = directory
        self._factory = factory
        self._lock = threading.Lock()
        self._services: dict[str, tuple[Service, ApplicationAutoScaling]] = {}
        self._current()
        stack.serve("sagemaker", "SageMaker", self._sagemaker, lambda: self._current()[0].tags())
        stack.serve("application-autoscaling", "AnyScaleFrontendService", self._autoscaling)

    def close(self) -> None:
        """End every process of every job and endpoint."""
        for service, _ in self._services.values():
            service.close()

    async def _sagemaker(self, *request: Any) -> Response:
        return await self._current()[0].handle(*request)

    async def _autoscaling(self, *request: Any) -> Response:
        return await self._current()[1].handle(*request)

    def _current(self) -> tuple[Service, ApplicationAutoScaling]:
        host = self._stack.current_host()
        with self._lock:
            if host.region not in self._services:
                targets = ScalableTargets()
                service = self._factory(host, self._directory / host.region, targets)
                self._services[host.region] = service, ApplicationAutoScaling(host, targets, service.variant)
            return self._services[host.region]
