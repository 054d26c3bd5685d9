"""The processes of one production variant.

    start        download the model archive with the model's execution role, unpack it once
    wait_ready   wait until /ping of every instance has returned 200
    invoke       send the request to one instance after the other
    stop         end every process and remove every file

Failure reasons have SageMaker's words. Where SageMaker only refers to the logs, the cause is added.
"""

import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from localcloud.sagemaker.processes.artifacts import (
    BadArchive,
    ObjectStore,
    S3Store,
    StoreError,
    split_uri,
    unpack,
)
from localcloud.sagemaker.processes.failure_reasons import LIMIT
from localcloud.sagemaker.processes.images import ImageNotFound, Runner, hosting_runner
from localcloud.sagemaker.processes.instance import Instance, InvocationResult
from localcloud.sagemaker.processes.supervised_process import container_environment

_PROGRAMS = Path(__file__).parent / "programs"
_CONTAINER_ROOT = "/opt/ml"
_LONGEST_CAUSE = 800
"""Characters of a cause in a failure reason, which holds 1,024."""
_RESTS_AFTER = 60.0
"""Seconds without a request after which a serverless container ends."""
_MOST_CORES = 4
"""The most cores that a fleet's instances share: enough for a server with a copy of the model on each."""


@dataclass(frozen=True)
class _Server:
    """The program that stands for an image.

    import_paths: the folders of /opt/ml/model from which the image imports the user's modules.
    grace: seconds between SIGTERM and SIGKILL, after the last response.
    noise: lines of output that are not for the user.
    """

    program: Path
    import_paths: tuple[str, ...]
    grace: float
    noise: re.Pattern[str]


_SERVERS = {
    Runner.INFERENCE_HANDLER: _Server(_PROGRAMS / "inference_server.py", ("code",), 2.0, re.compile("(?!)")),
    Runner.RAY_SERVE: _Server(
        _PROGRAMS / "ray_server.py",
        ("", "code"),
        0.0,  # parts of Ray that end before others print many errors
        re.compile(r":(job_id|actor_name|task_name):|\[.* logging\.cc:\d+: Set ray log level "),
    ),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FleetLaunch:
    """What one variant's fleet needs to run.

    container: the model's PrimaryContainer: Image, ModelDataUrl, Environment.
    serverless: the variant's ServerlessConfig, or None if it has instances.
    startup: seconds that a container has until /ping returns 200.
    directory: the fleet's own; the fleet creates it, and `stop` removes it.
    environment: AWS_* variables of a process that acts as the model's execution role.
    log: called with (stream, epoch milliseconds, line) for each line of an instance, on the fleet's threads;
        stream is "<variant>/<instance id>".
    """

    endpoint_name: str
    variant_name: str
    model_name: str
    container: Mapping[str, Any]
    instance_count: int
    directory: Path
    environment: Mapping[str, str] = field(repr=False)
    log: Callable[[str, int, str], None]
    serverless: Mapping[str, Any] | None = None
    startup: float = 480.0


class FleetFailed(Exception):
    """The fleet cannot serve; the message is the endpoint's FailureReason, at most 1,024 characters."""


class _Stopped(Exception):
    """The fleet was stopped before it had started."""


class _Output:
    """Passes an instance's lines on to the log, and remembers the last one."""

    def __init__(self, launch: FleetLaunch, instance: str, noise: re.Pattern[str]) -> None:
        self._log = partial(launch.log, f"{launch.variant_name}/{instance}")
        self._noise = noise
        self.last = ""

    def __call__(self, line: str) -> None:
        """Log a line."""
        if line.strip() and not self._noise.match(line):  # CloudWatch Logs refuses empty events
            self.last = line.strip()
            self._log(time.time_ns() // 1_000_000, line)


class Fleet:
    """The instances of one production variant."""

    def __init__(self, launch: FleetLaunch, *, store: ObjectStore | None = None) -> None:
        """Prepare a fleet.

        Args:
            launch: What to run.
            store: Holds the model archive; by default S3, as the model's execution role.
        """
        self._launch = launch
        self._store = store
        self._root = launch.directory / "ml"
        self._instances: list[Instance] = []
        self._change = threading.Condition()
        self._failure: str | None = None
        self._stopping = False
        self._in_flight = 0
        self._turn = 0
        self._thread = threading.Thread(target=self._run, name=f"fleet-{launch.endpoint_name}", daemon=True)

    def start(self) -> None:
        """Start the download and the instances; return immediately."""
        self._thread.start()

    @property
    def pids(self) -> list[int]:
        """The process ids of the running inference servers."""
        return [pid for instance in self._instances if (pid := instance.pid) is not None]

    def wait_ready(self, timeout: float) -> None:
        """Wait until /ping of every instance has returned 200.

        Raises:
            FleetFailed: The fleet cannot serve, or not in time. The caller must then call `stop`.
        """

        def settled() -> bool:
            if self._failure or self._stopping:
                return True
            ready = [instance for instance in self._instances if instance.ready]
            return len(ready) == self._launch.instance_count

        with self._change:
            if not self._change.wait_for(settled, timeout):
                raise FleetFailed(self._unhealthy(f"it did not respond within {timeout:g} s"))
            if self._failure:
                raise FleetFailed(self._failure)
            if self._stopping:
                raise FleetFailed("The endpoint was deleted before it was in service.")

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult | None:
        """Send one request to the next instance in service; block up to 60 s.

        Returns:
            The response, or None if no instance is in service. Errors of the model are results, too: see
            `InvocationResult`.
        """
        with self._change:
            ready = [] if self._stopping else [instance for instance in self._instances if instance.ready]
            if not ready:
                return None
            self._turn += 1
            instance = ready[self._turn % len(ready)]
            self._in_flight += 1
        try:
            return instance.invoke(body, content_type, accept)
        finally:
            with self._change:
                self._in_flight -= 1
                self._change.notify_all()

    def stop(self, drain: float = 10.0) -> None:
        """Wait up to `drain` seconds for requests in flight, end every process, remove the directory."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
            self._change.wait_for(lambda: self._in_flight == 0, drain)
        if self._thread.is_alive():
            self._thread.join()
        for instance in self._instances:
            instance.request_stop()
        for instance in self._instances:
            instance.join()
        shutil.rmtree(self._launch.directory, ignore_errors=True)

    def _run(self) -> None:
        try:
            server = self._server()
            self._fetch_model()
            self._start_instances(server)
        except _Stopped:
            pass
        except FleetFailed as failure:
            self._fail(str(failure))
        except Exception as error:
            log.exception("The fleet of endpoint %s failed", self._launch.endpoint_name)
            self._fail(f"InternalServerError: We encountered an internal error. {error!r}")

    def _server(self) -> _Server:
        try:
            return _SERVERS[hosting_runner(self._launch.container["Image"])]
        except ImageNotFound as error:
            raise FleetFailed(str(error)) from error

    def _fetch_model(self) -> None:
        container = self._launch.container
        uri = container.get("ModelDataUrl")
        if uri is None:
            raise FleetFailed("The local cloud serves models from a ModelDataUrl; the container has none.")
        archive = self._launch.directory / "model.tar.gz"
        archive.parent.mkdir(parents=True)
        try:
            store = self._store or S3Store(self._launch.environment)
            store.download(*split_uri(uri), archive, self._still_wanted)
        except (StoreError, ValueError) as error:
            raise FleetFailed(
                f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure'
                " that there is an object located at the URL and that the role passed to CreateModel has"
                f" permissions to download the object. ({error})"
            ) from error
        try:
            unpack(archive, self._root / "model")
        except BadArchive as error:
            raise FleetFailed(
                f'Failed to extract model data archive for container "container_1" from URL "{uri}". Please'
                f" ensure that the object located at the URL is a valid tar.gz archive. ({error})"
            ) from error
        archive.unlink()

    def _start_instances(self, server: _Server) -> None:
        for _ in range(self._launch.instance_count):
            name = f"i-{uuid.uuid4().hex[:17]}"
            output = _Output(self._launch, name, server.noise)
            serverless = self._launch.serverless
            cold = serverless is not None and not serverless.get("ProvisionedConcurrency")
            instance = Instance(
                name,
                [server.program] if serverless is None else [_PROGRAMS / "serverless.py", server.program],
                self._launch.directory / name,
                self._container_environment(server),
                grace=server.grace,
                startup=self._launch.startup,
                rests_after=_RESTS_AFTER if cold else None,
                on_ready=self._ready,
                on_failed=partial(self._failed, output),
                on_line=output,
            )
            with self._change:
                self._still_wanted()
                instance.start()
                self._instances.append(instance)

    def _container_environment(self, server: _Server) -> dict[str, str]:
        """Return the container's Environment, with paths below /opt/ml moved to the fleet's directory.

        SAGEMAKER_BASE_DIR leads the server to that directory, and PYTHONPATH the import of the user's module,
        as in AWS's image. The fleet uses half of the machine's cores, at most _MOST_CORES: a training job or
        another fleet runs beside it.
        """
        declared = {
            name: f"{self._root}{value.removeprefix(_CONTAINER_ROOT)}"
            if value == _CONTAINER_ROOT or value.startswith(f"{_CONTAINER_ROOT}/")
            else value
            for name, value in self._launch.container.get("Environment", {}).items()
        }
        cores = min(_MOST_CORES, (os.cpu_count() or 1) // 2)
        threads = max(1, cores // self._launch.instance_count)
        return container_environment(
            self._launch.environment,
            {
                "OMP_NUM_THREADS": str(threads),
                "OMP_THREAD_LIMIT": str(threads),
                "PYTHONPATH": os.pathsep.join(
                    str(self._root / "model" / path) for path in server.import_paths
                ),
                **declared,
                "SAGEMAKER_BASE_DIR": str(self._root),
            },
        )

    def _still_wanted(self) -> None:
        if self._stopping:
            raise _Stopped

    def _ready(self) -> None:
        with self._change:
            self._change.notify_all()

    def _failed(self, output: "_Output", cause: str) -> None:
        """Fail because an instance did not come into service. Say how its log ends, if the cause does not."""
        if output.last and output.last not in cause:
            cause = f"{cause[: _LONGEST_CAUSE // 2]}. Its log ends with: {output.last}"
        self._fail(self._unhealthy(cause))

    def _fail(self, reason: str) -> None:
        with self._change:
            self._failure = self._failure or reason[:LIMIT]
            self._change.notify_all()

    def _unhealthy(self, cause: str) -> str:
        return (
            f"The primary container for production variant {self._launch.variant_name} did not pass the ping"
            f" health check: {cause[:_LONGEST_CAUSE].rstrip('.')}. Please check CloudWatch logs for this"
            " endpoint."
        )
