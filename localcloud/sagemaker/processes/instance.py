"""One instance of a variant: a server process that is restarted when it dies, and calls to it.

The server is programs/inference_server.py or programs/ray_server.py. Both write their port to the file
$LOCALCLOUD_READY, and serve GET /ping and POST /invocations to callers with the token $LOCALCLOUD_TOKEN.
"""

import contextlib
import http.client
import json
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.sagemaker.processes.failure_reasons import describe_exit
from localcloud.sagemaker.processes.supervised_process import Process

INVOCATION_TIMEOUT = 60.0
"""Seconds for one invocation: SageMaker's limit for a real-time endpoint."""
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency"
    " metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STEADY = 60.0
"""Seconds of service after which the restart pause begins at _FIRST_PAUSE again."""
_POLL = 0.02


@dataclass(frozen=True)
class InvocationResult:
    """A container's response.

    status: the container's HTTP status; 0 if it did not respond in time. For any status but 200,
        InvokeEndpoint returns ModelError (HTTP 424) with status and body as OriginalStatusCode and
        OriginalMessage.
    """

    status: int
    content_type: str
    body: bytes


class Instance:
    """An inference server on its own port, which accepts only callers with its token."""

    def __init__(
        self,
        name: str,
        server: Path,
        directory: Path,
        environment: Mapping[str, str],
        *,
        grace: float,
        on_ready: Callable[[], None],
        on_failed: Callable[[str], None],
        on_line: Callable[[str], None],
    ) -> None:
        """Prepare an instance.

        Args:
            name: The instance's id.
            server: The program to run.
            directory: The working directory.
            environment: The container's environment, without the server's own variables.
            grace: Seconds between SIGTERM and SIGKILL when the instance is stopped.
            on_ready: Called each time the server has responded to /ping.
            on_failed: Called with the cause if the first process ends before that; it is not restarted then.
            on_line: Called with each line the server prints, and with messages about restarts.
        """
        self._server = server
        self._directory = directory
        self._ready_file = directory / "ready.json"
        self._token = secrets.token_urlsafe(24)
        self._environment = {
            **environment,
            "LOCALCLOUD_READY": str(self._ready_file),
            "LOCALCLOUD_TOKEN": self._token,
        }
        self._grace = grace
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._on_line = on_line
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: Process | None = None
        self._port: int | None = None
        self._has_served = False
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._thread = threading.Thread(target=self._keep_serving, name=f"instance-{name}", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether the instance can be invoked."""
        return self._port is not None

    @property
    def pid(self) -> int | None:
        """The server's process id; None between two processes."""
        process = self._process
        return process.pid if process and process.running else None

    def start(self) -> None:
        """Start the server; return immediately."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def request_stop(self) -> None:
        """Stop the server; return immediately."""
        with self._lock:
            self._stopping.set()
            self._port = None
            if self._process:
                self._process.stop(self._grace)

    def join(self) -> None:
        """Wait until the server's processes have ended."""
        self._thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult:
        """Send POST /invocations; return errors of the server as results, too."""
        port = self._port
        if port is None:
            return InvocationResult(503, "text/plain", b"The container is not up; try again shortly.")
        headers = {"Content-Type": content_type, "Accept": accept}
        try:
            status, response_type, content = self._request(port, "POST", "/invocations", body, headers)
        except TimeoutError:
            return InvocationResult(0, "text/plain", _TIMED_OUT.encode())
        except (OSError, http.client.HTTPException):
            return InvocationResult(500, "text/plain", b"The container ended before it responded.")
        return InvocationResult(status, response_type, content)

    def _request(
        self, port: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, str, bytes]:
        connection = self._connection(port)
        try:
            connection.request(method, path, body, {**headers, "Authorization": f"Bearer {self._token}"})
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return response.status, response.headers.get("Content-Type", ""), content

    def _connection(self, port: int) -> http.client.HTTPConnection:
        with contextlib.suppress(queue.Empty):
            while True:
                connection = self._idle.get_nowait()
                if connection.port == port:
                    return connection
                connection.close()  # its process has ended
        return http.client.HTTPConnection("127.0.0.1", port, timeout=INVOCATION_TIMEOUT)

    def _keep_serving(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            cause = self._serve()
            if self._stopping.is_set():
                return
            if not self._has_served:
                self._on_failed(cause)
                return
            if time.monotonic() - began > _STEADY:
                pause = _FIRST_PAUSE
            self._on_line(f"The container ended: {cause}. It is started again in {pause:g} s.")
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _serve(self) -> str:
        """Run one process from start to end; return why it ended."""
        self._ready_file.unlink(missing_ok=True)
        with self._lock:
            if self._stopping.is_set():
                return "stopped"
            try:
                self._process = process = Process(
                    [sys.executable, "-P", str(self._server)],
                    directory=self._directory,
                    environment=self._environment,
                    on_line=self._on_line,
                )
            except OSError as error:
                return f"no process could be started: {error}"
        while not self._ready_file.exists() and not process.wait(_POLL):
            pass
        ready = self._read_ready_file()
        if "port" in ready:
            self._open(ready["port"])
        process.wait()
        self._port = None
        if "error" in ready:
            return str(ready["error"])
        code = process.exit_code
        return "its supervisor was killed" if code is None else describe_exit(code)

    def _read_ready_file(self) -> dict[str, Any]:
        try:
            ready: dict[str, Any] = json.loads(self._ready_file.read_text())
        except FileNotFoundError:
            return {}
        return ready

    def _open(self, port: int) -> None:
        try:
            status, _, _ = self._request(port, "GET", "/ping", None, {})
        except (OSError, http.client.HTTPException):
            return
        with self._lock:
            if status != 200 or self._stopping.is_set():
                return
            self._port = port
            self._has_served = True
        self._on_ready()
