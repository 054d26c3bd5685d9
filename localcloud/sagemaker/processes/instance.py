"""One instance of a variant: a server's process, started again when it dies, and calls to it.

The server is inference_server.py or ray_server.py. Both say in $LOCALCLOUD_READY on which port they answer,
and answer GET /ping and POST /invocations to the holder of $LOCALCLOUD_TOKEN.
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

_INVOCATION_TIMEOUT = 60.0
"""Seconds; a real-time endpoint's container must answer within 60."""
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency"
    " metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STEADY = 60.0
"""Seconds an instance must have served for its next failure to count as a first one."""
_POLL = 0.02


@dataclass(frozen=True)
class InvocationResult:
    """A container's answer.

    status: the container's HTTP status; 0 stands for no answer in time. Anything but 200 is what
        InvokeEndpoint reports as ModelError (HTTP 424), with status and body as OriginalStatusCode and
        OriginalMessage.
    """

    status: int
    content_type: str
    body: bytes


class Instance:
    """An inference server on a port of its own, which only the holder of its token may call."""

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
        """server: the program to run.
        environment: the container's, without what the server needs beyond it.
        grace: seconds that its processes have to end by themselves when it is stopped.
        on_ready: called each time the server has answered /ping.
        on_failed: called with the cause when the first process ends before that; there is no second then.
        on_line: called with each line the server prints, and with those about its restarts.
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
        """Whether it can be invoked."""
        return self._port is not None

    @property
    def pid(self) -> int | None:
        """The server's process id, None between two processes."""
        process = self._process
        return process.pid if process and process.running else None

    def start(self) -> None:
        """Begin; returns at once."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def request_stop(self) -> None:
        """Begin to end; returns at once."""
        with self._lock:
            self._stopping.set()
            self._port = None
            if self._process:
                self._process.stop(self._grace)

    def join(self) -> None:
        """Wait until nothing of it is left."""
        self._thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult:
        """POST /invocations; never raises for what the server does or fails to do."""
        port = self._port
        if port is None:
            return InvocationResult(503, "text/plain", b"The container is not up; try again shortly.")
        headers = {"Content-Type": content_type, "Accept": accept}
        try:
            status, answered, content = self._request(port, "POST", "/invocations", body, headers)
        except TimeoutError:
            return InvocationResult(0, "text/plain", _TIMED_OUT.encode())
        except (OSError, http.client.HTTPException):
            return InvocationResult(500, "text/plain", b"The container ended before it answered.")
        return InvocationResult(status, answered, content)

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
                connection.close()  # it led to a process that has ended since
        return http.client.HTTPConnection("127.0.0.1", port, timeout=_INVOCATION_TIMEOUT)

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
        """One process from start to end; why it ended."""
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
        announced = self._announced()
        if "port" in announced:
            self._open(announced["port"])
        process.wait()
        self._port = None
        if "error" in announced:
            return str(announced["error"])
        code = process.exit_code
        return "its supervisor was killed" if code is None else describe_exit(code)

    def _announced(self) -> dict[str, Any]:
        try:
            announced: dict[str, Any] = json.loads(self._ready_file.read_text())
        except FileNotFoundError:
            return {}
        return announced

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
