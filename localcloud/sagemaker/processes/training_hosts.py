"""The hosts of a training job, algo-1 and so on.

Each host is a container (container.py) with a directory as its /opt/ml, a process in it, and a log. The
process is AWS's training toolkit, or the program that the request names as ContainerEntrypoint.
"""

import json
import math
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from localcloud.sagemaker.processes import container
from localcloud.sagemaker.processes.container import Container
from localcloud.sagemaker.processes.failure_reasons import algorithm_error, container_error, lost_peer
from localcloud.sagemaker.processes.supervised_process import Process

_TOOLKIT = Path(__file__).parent / "programs" / "training_toolkit.py"
_INSTANCE_GROUP = "homogeneousCluster"
_REMEMBERED_LINES = 60
"""Enough for the script's last lines and the reports of torchrun and the toolkit that follow them."""

SETTLING = 3.0
"""Seconds that the other hosts have to end by themselves after one failed; one of them may know the cause."""
_FAILED_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL for the hosts that still run after SETTLING."""

LogListener = Callable[[str, int, str], None]
"""Receives a line of the log: its stream, its time in epoch milliseconds, and the text."""


class TrainingHosts:
    """All hosts of a job. They start together, and end together if one of them fails."""

    def __init__(
        self,
        job_name: str,
        request: Mapping[str, Any],
        directory: Path,
        hidden: Path,
        on_line: LogListener,
    ) -> None:
        """Prepare the hosts.

        Args:
            job_name: The job's name.
            request: The CreateTrainingJob request.
            directory: Gets a folder for each host.
            hidden: A folder that no host can see.
            on_line: Receives the log of every host.
        """
        self._request = request
        self.count: int = request["ResourceConfig"].get("InstanceCount", 1)
        started = time.time_ns() // 1_000_000
        self._hosts = [
            TrainingHost(
                name,
                Container(directory / name, directory / "tools", hidden, directory / "layers" / name),
                f"{job_name}/{name}-{started}",
                on_line,
            )
            for name in (f"algo-{number}" for number in range(1, self.count + 1))
        ]
        self._processes: list[Process] = []
        self._ended: queue.SimpleQueue[TrainingHost] = queue.SimpleQueue()
        self._running = 0
        self._stopped = False
        self._settled = math.inf
        self._failures: list[str] = []

    def folders(self, name: str) -> list[Path]:
        """Return a folder under /opt/ml on each host."""
        return [host.directory / name for host in self._hosts]

    def lay_out(self) -> None:
        """Create each host's directory."""
        for host in self._hosts:
            host.lay_out(self._request, [each.name for each in self._hosts])

    def start(self, environment: Callable[["TrainingHost"], Mapping[str, str]]) -> None:
        """Start the toolkit on every host; raise OSError if a process cannot be started."""
        try:
            for host in self._hosts:
                process = host.start(entrypoint(self._request), environment(host))
                self._processes.append(process)
                self._running += 1
                threading.Thread(
                    target=self._await, args=[host, process], name=host.name, daemon=True
                ).start()
        except OSError:
            self.stop(0)
            self.wait()
            raise

    @property
    def started(self) -> bool:
        """Whether any process was started."""
        return bool(self._processes)

    def stop(self, grace: float) -> None:
        """Send SIGTERM to all processes, and SIGKILL after `grace` seconds; return immediately."""
        self._stopped = True
        for process in self._processes:
            process.stop(grace)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every host has ended; return False on a time-out. If one fails, all are ended."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while self._running:
            wake = min(end, self._settled)
            try:
                host = self._ended.get(
                    timeout=None if math.isinf(wake) else max(0.0, wake - time.monotonic())
                )
            except queue.Empty:
                if wake == end:
                    return False
                self._settled = math.inf
                self.stop(_FAILED_GRACE)
                continue
            self._running -= 1
            failure = host.failure()
            if failure and not self._stopped:
                self._failures.append(failure)
                self._settled = min(self._settled, time.monotonic() + SETTLING)
        return True

    @property
    def failure(self) -> str | None:
        """The reason of the first host that failed. Hosts that only lost another host count last."""
        causes = [each for each in self._failures if not lost_peer(each)]
        return next(iter(causes or self._failures), None)

    def _await(self, host: "TrainingHost", process: Process) -> None:
        process.wait()
        self._ended.put(host)


class TrainingHost:
    """A host by its name, and its process after `start`."""

    def __init__(self, name: str, folders: Container, stream: str, on_line: LogListener) -> None:
        """Prepare a host; `stream` is the name of its log."""
        self.name = name
        self.directory = folders.ml
        self._container = folders
        self._entrypoint: list[str] | None = None
        self._process: Process | None = None
        self._stream = stream
        self._on_line = on_line
        self._last_lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)

    def lay_out(self, request: Mapping[str, Any], hosts: Sequence[str]) -> None:
        """Write input/config/*.json as SageMaker does, and create the folders that a script expects."""
        for folder in ("input/config", "input/data", "model", "output/data"):
            (self.directory / folder).mkdir(parents=True)
        instance_type = request["ResourceConfig"]["InstanceType"]
        config = {
            "hyperparameters": request.get("HyperParameters", {}),
            "inputdataconfig": _channels(request),
            "resourceconfig": {
                "current_host": self.name,
                "current_instance_type": instance_type,
                "current_group_name": _INSTANCE_GROUP,
                "hosts": hosts,
                "instance_groups": [
                    {"instance_group_name": _INSTANCE_GROUP, "instance_type": instance_type, "hosts": hosts}
                ],
                "network_interface_name": "lo",
            },
        }
        for name, content in config.items():
            (self.directory / "input" / "config" / f"{name}.json").write_text(json.dumps(content))

    def start(self, program: list[str] | None, environment: Mapping[str, str]) -> Process:
        """Start the program; by default the toolkit, which fetches the source and runs the script."""
        self._entrypoint = program
        command = program or [sys.executable, "-P", str(_TOOLKIT)]
        self._process = Process(
            command if container.refusal() else self._container.wrap(command),
            directory=self.directory,
            environment=environment,
            on_line=self._log_line,
        )
        return self._process

    def failure(self) -> str | None:
        """Return why the process failed, or None if it exited with 0."""
        assert self._process
        code = self._process.exit_code
        if code is None:
            return (
                "InternalServerError: We encountered an internal error. Please try again. The training job's"
                " supervisor was killed, and the job with it."
            )
        if code == 0:
            return None
        report = self.directory / "output" / "failure"
        text = report.read_text(errors="replace") if report.exists() else None
        if self._entrypoint:
            return container_error(text, code, self._last_lines)
        return algorithm_error(text, code, self._last_lines)

    def _log_line(self, line: str) -> None:
        if line:  # CloudWatch Logs refuses empty events
            self._last_lines.append(line)
            self._on_line(self._stream, time.time_ns() // 1_000_000, line)


def entrypoint(request: Mapping[str, Any]) -> list[str] | None:
    """Return the command that replaces the image's own entry point; None if the request has none."""
    algorithm = request["AlgorithmSpecification"]
    if "ContainerEntrypoint" not in algorithm:
        return None
    return [*algorithm["ContainerEntrypoint"], *algorithm.get("ContainerArguments", [])]


def _channels(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    channels = {}
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        described = {
            "TrainingInputMode": channel.get(
                "InputMode", request["AlgorithmSpecification"]["TrainingInputMode"]
            ),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        if "ContentType" in channel:
            described["ContentType"] = channel["ContentType"]
        channels[channel["ChannelName"]] = described
    return channels
