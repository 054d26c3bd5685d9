"""One instance of a variant: a server process that is restarted when it dies, and calls to it.

The server is programs/inference_server.py or programs/ray_server.py. Both write their port to the file
$LOCALCLOUD_READY, and serve GET /ping and POST /invocations to callers with the token $LOCALCLOUD_TOKEN.

As on SageMaker, nothing but /ping decides whether an instance gets requests: it does while /ping returns 200.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import contextlib
import http.client
import json
import math
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urllib3.util.wait import wait_for_read

from localcloud.sagemaker.processes.failure_reasons import describe_exit
from localcloud.sagemaker.processes.supervised_process import Process

INVOCATION_TIMEOUT = 60.0
"""Seconds for one invocation: SageMaker's limit for a real-time endpoint."""
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency"
    " metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two restarts in a row. There is no pause before the first one."""
_STEADY = 60.0
"""Seconds of service after which a restart is the first one again."""
_POLL = 0.1
"""Seconds between two pings until the instance is in service."""
_PING_PERIOD = 0.5
PING_TIMEOUT = 2.0
"""Seconds that SageMaker waits for the response to a ping."""
_MOST_LATE = 10
"""Pings in a row that may come too late before the instance gets no more requests."""


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
        command: Sequence[Path],
        directory: Path,
        environment: Mapping[str, str],
        *,
        grace: float,
        startup: float,
        rests_after: float | None,
        on_ready: Callable[[], None],
        on_failed: Callable[[str], None],
        on_line: Callable[[str], None],
    ) -> None:
        """Prepare an instance.

        Args:
            name: The instance's id.
            command: The program to run, and its arguments.
            directory: The working directory.
            environment: The container's environment, without the server's own variables.
            grace: Seconds between SIGTERM and SIGKILL when the instance is stopped.
            startup: Seconds that the first process has until /ping returns 200.
            rests_after: Seconds without a request after which the process is stopped until the next request;
                None for never. It also rests before the first request.
            on_ready: Called each time /ping returns 200 again.
            on_failed: Called with the cause if it never did; the process is not restarted then.
            on_line: Called with each line the server prints, and with messages about restarts.
        """
        self._command = command
        self._directory = directory
        self._ready_file = directory / "ready.json"
        self._token = secrets.token_urlsafe(24)
        self._environment = {
            **environment,
            "LOCALCLOUD_READY": str(self._ready_file),
            "LOCALCLOUD_TOKEN": self._token,
        }
        self._grace = grace
        self._startup = startup
        self._rests_after = rests_after
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._on_line = on_line
        self._change = threading.Condition()
        self._stopping = threading.Event()
        self._process: Process | None = None
        self._port: int | None = None
        self._late = 0
        self._has_served = False
        self._resting = False
        self._in_flight = 0
        self._used = -math.inf
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._thread = threading.Thread(target=self._keep_serving, name=f"instance-{name}", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether the instance can be invoked."""
        return self._port is not None or (self._rests_after is not None and self._has_served)

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
        with self._change:
            self._stopping.set()
            self._port = None
            if self._process:
                self._process.stop(self._grace)
            self._change.notify_all()

    def join(self) -> None:
        """Wait until the server's processes have ended."""
        self._thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def invoke(self, body: bytes, content_type: str, accept: str) -> InvocationResult | None:
        """Send POST /invocations; return errors of the server as results, too.

        An instance that rests is started for the request.

        Returns:
            The response, or None if the instance is not in service.
        """
        with self._change:
            self._in_flight += 1
            self._change.notify_all()
            if self._rests_after is not None:
                self._change.wait_for(lambda: self._port or self._stopping.is_set(), INVOCATION_TIMEOUT)
            port = self._port
        try:
            return None if port is None else self._invoke(port, body, content_type, accept)
        finally:
            with self._change:
                self._in_flight -= 1
                self._used = time.monotonic()

    def _invoke(self, port: int, body: bytes, content_type: str, accept: str) -> InvocationResult:
        headers = {"Content-Type": content_type, "Accept": accept}
        try:
            return InvocationResult(*self._request(port, "POST", "/invocations", body, headers))
        except ConnectionRefusedError:
            # The container runs, and the model's server in it does not: AWS's adapter returns this.
            return InvocationResult(503, "application/json", b'{"error": "Service unavailable"}')
        except TimeoutError:
            return InvocationResult(0, "text/plain", _TIMED_OUT.encode())
        except (OSError, http.client.HTTPException):
            return InvocationResult(500, "text/plain", b"The container ended before it responded.")

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
                # If the server has ended, the connection is readable: its end can be read.
                if connection.sock and not wait_for_read(connection.sock, timeout=0.0):
                    return connection
                connection.close()
        return http.client.HTTPConnection("127.0.0.1", port, timeout=INVOCATION_TIMEOUT)

    def _keep_serving(self) -> None:
        pause = 0.0
        while True:
            began = time.monotonic()
            cause = self._serve()
            if self._stopping.is_set():
                return
            if not self._has_served:
                self._on_failed(cause)
                return
            if self._resting:
                with self._change:
                    self._change.wait_for(lambda: self._in_flight or self._stopping.is_set())
                    self._resting = False
                continue
            if time.monotonic() - began > _STEADY:
                pause = 0.0
            when = f"in {pause:g} s" if pause else "at once"
            self._on_line(f"The container ended: {cause}. It is started again {when}.")
            if self._stopping.wait(pause):
                return
            pause = min(max(2 * pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def _serve(self) -> str:
        """Run one process from start to end; return why it ended."""
        self._ready_file.unlink(missing_ok=True)
        with self._change:
            if self._stopping.is_set():
                return "stopped"
            try:
                self._process = process = Process(
                    [sys.executable, "-P", *map(str, self._command)],
                    directory=self._directory,
                    environment=self._environment,
                    on_line=self._on_line,
                )
            except OSError as error:
                return f"no process could be started: {error}"
        deadline = time.monotonic() + self._startup
        while not process.wait(_POLL if self._port is None else _PING_PERIOD):
            self._ping()
            if not self._has_served and time.monotonic() > deadline:
                process.stop(0.0)
                process.wait()
                return f"it did not respond to /ping with 200 within {self._startup:g} s"
            if self._may_rest():
                process.stop(self._grace)
        self._port = None
        if cause := self._announced().get("error"):
            return str(cause)
        code = process.exit_code
        return "its supervisor was killed" if code is None else describe_exit(code)

    def _announced(self) -> dict[str, Any]:
        try:
            announced: dict[str, Any] = json.loads(self._ready_file.read_text())
        except FileNotFoundError:
            return {}
        return announced

    def _ping(self) -> None:
        """Take the instance into service if /ping returns 200, and out of service otherwise.

        One response that comes too late changes nothing: the machine may be busy.
        """
        port = self._announced().get("port")
        if port is None:
            return
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PING_TIMEOUT)
        try:
            connection.request("GET", "/ping", headers={"Authorization": f"Bearer {self._token}"})
            healthy = connection.getresponse().status == http.client.OK
            self._late = 0
        except TimeoutError:
            self._late += 1
            if self._late < _MOST_LATE:
                return
            healthy = False
        except (OSError, http.client.HTTPException):
            healthy = False
        finally:
            connection.close()
        with self._change:
            if self._stopping.is_set() or self._resting or healthy == (self._port is not None):
                return
            self._port = port if healthy else None
            self._has_served = self._has_served or healthy
            self._change.notify_all()
        if healthy:
            self._on_ready()

    def _may_rest(self) -> bool:
        """Return whether the process may end because nobody calls it; nobody can call it from then on."""
        if self._rests_after is None or self._port is None:
            return False
        with self._change:
            if self._in_flight or time.monotonic() - self._used < self._rests_after:
                return False
            self._resting, self._port = True, None
            return True
