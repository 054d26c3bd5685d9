"""The start of a function with layers.

AWS: SnapStart restores an environment from memory that has been initialised before.
https://aws.amazon.com/blogs/compute/under-the-hood-how-aws-lambda-snapstart-optimizes-function-startup-latency/
MiniStack: it starts a Python interpreter for each environment. The interpreter imports the SDK, Powertools
and Pydantic, which takes more than a second of processor time.
Here: one process per set of layers has imported them (`fork_server`), and each environment starts as a fork
of it, in a quarter of the time.
"""

import contextlib
import functools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from localcloud.ministack.lambda_functions.fork_server import IMPORTED
from localcloud.ministack.lambda_functions.layers import LAYERS

# After an update of a layer, the process for the former layer is no longer needed.
_MAX_SERVERS = 4
# These are the root's credentials. A fork can read the environment with which its parent was started.
_NOT_FOR_FUNCTIONS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

_logger = logging.getLogger("localcloud")
_starting_a_server = threading.Lock()


def patch() -> None:
    """Start the functions' processes as forks."""
    from ministack.core import lambda_runtime as runtime

    runtime.subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": _popen})


def _popen(arguments: Sequence[str], *, env: Mapping[str, str], cwd: str, **options: Any) -> Any:
    """Replace the runtime's subprocess.Popen: fork if the function has a layer."""
    if arguments[0] == sys.executable and env.get(LAYERS) and not _brings_own_packages(Path(cwd)):
        try:
            with _starting_a_server:
                server = _server(env[LAYERS])
            return _Fork(server, arguments[1], env, cwd)
        except OSError:
            # The next function gets a new fork server.
            _logger.warning("%s starts without a fork", cwd, exc_info=True)
            _server.cache_clear()
    return subprocess.Popen(arguments, env=env, cwd=cwd, **options)


def _brings_own_packages(code: Path) -> bool:
    """Check whether the artifact contains a package that the fork server has already imported."""
    return any((code / name.partition(".")[0]).exists() for name in IMPORTED)


class _ForkServer:
    """A process of fork_server.py."""

    def __init__(self, layers: str) -> None:
        self._lock = threading.Lock()
        self._socket, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = str(Path(__file__).with_name("fork_server.py"))
        with server_end:
            subprocess.Popen(
                # -P: the program's own folder is not searched for modules.
                [sys.executable, "-P", program, str(server_end.fileno()), layers],
                env={name: value for name, value in os.environ.items() if name not in _NOT_FOR_FUNCTIONS},
                stdin=subprocess.DEVNULL,
                pass_fds=[server_end.fileno()],
            )

    def fork(self, script: str, environment: Mapping[str, str], directory: str, streams: list[int]) -> int:
        """Return the process id of a fork that runs the script. Raise OSError if the server has ended."""
        document = {"script": script, "environment": dict(environment), "directory": directory}
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(document).encode()], streams)
            response = self._socket.recv(64)
        if not response:
            raise OSError("The fork server has ended.")
        return int(response)


_server = functools.lru_cache(_MAX_SERVERS)(_ForkServer)


class _Fork:
    """The part of subprocess.Popen that the runtime uses, for a child of the fork server."""

    def __init__(
        self, server: _ForkServer, script: str, environment: Mapping[str, str], directory: str
    ) -> None:
        child_stdin, stdin = os.pipe()
        stdout, child_stdout = os.pipe()
        stderr, child_stderr = os.pipe()
        self.stdin = os.fdopen(stdin, "w", buffering=1, encoding="utf-8")
        self.stdout = os.fdopen(stdout, encoding="utf-8")
        self.stderr = os.fdopen(stderr, encoding="utf-8", errors="replace")
        self.returncode: int | None = None
        streams = [child_stdin, child_stdout, child_stderr]
        try:
            self.pid = server.fork(script, environment, directory, streams)
        finally:
            for stream in streams:
                os.close(stream)
        try:
            self._process = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            self.returncode = 1

    def poll(self) -> int | None:
        """Return None while the process runs, then 1: only the fork server knows the real code."""
        if self.returncode is None and not self._process.is_running():
            self.returncode = 1
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process, at most `timeout` seconds, and return 1."""
        if self.returncode is None:
            try:
                self._process.wait(timeout)
            except psutil.TimeoutExpired:
                raise subprocess.TimeoutExpired("function", timeout or 0) from None
            self.returncode = 1
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(psutil.Process.terminate)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(psutil.Process.kill)

    def _send(self, signal: Callable[[psutil.Process], None]) -> None:
        if self.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                signal(self._process)
