"""The processes that functions run in: quickly started, whose a request is, killing one."""

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

_LAYERS = "_LAMBDA_LAYERS_DIRS"
_PLACE = "    try:\n        mod = importlib.import_module(module_name)\n"
_HURRY = """    import botocore.endpoint, types
    botocore.endpoint.time = types.SimpleNamespace(
        sleep=lambda seconds: time.sleep(seconds * float(os.environ.get("SFN_WAIT_SCALE", "1"))))
"""


def hurry() -> None:
    """Start functions' processes as forks, and scale their SDK's pauses by SFN_WAIT_SCALE."""
    from ministack.core import lambda_runtime as runtime

    script = runtime._PYTHON_WORKER_SCRIPT
    if script.count(_PLACE) != 1:
        raise RuntimeError("MiniStack's Lambda worker no longer imports a handler as it did.")
    runtime._PYTHON_WORKER_SCRIPT = script.replace(_PLACE, _HURRY + _PLACE)
    if hasattr(os, "pidfd_open"):
        runtime.subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": _started})


def function_of(access_key: str) -> tuple[str, ...]:
    """A function's name and its handler's module, by the key it signs with; () for anybody else's key."""
    from ministack.services import lambda_svc, sts

    session: dict[str, Any] = sts._sessions.get(access_key) or {}
    name = str(session.get("Arn", "")).rsplit("/", 1)[-1]
    function = lambda_svc._functions.get(name)
    return () if function is None else names_of(function["config"])


def names_of(config: Mapping[str, Any]) -> tuple[str, str]:
    """The function's name and its handler's module."""
    return str(config["FunctionName"]), str(config.get("Handler", "")).rsplit(".", 1)[0]


def kill(function: str, port: int) -> None:
    """Kill the function's process that this loopback port leads to, as the out-of-memory killer would."""
    for process in _processes(function):
        connections = process.net_connections("tcp4")
        if any(connection.laddr.port == port for connection in connections):
            os.kill(process.pid, signal.SIGKILL)
            return
    raise RuntimeError(f"No process of {function} has port {port}.")


def kill_busy() -> None:
    """Kill every process that runs an invocation."""
    from ministack.core import lambda_runtime as runtime

    with runtime._lock:
        busy = [worker for entries in runtime._workers.values() for worker in entries if worker.in_use]
    for worker in busy:
        process = worker._proc
        if process is not None:
            process.kill()


def _processes(function: str) -> list[psutil.Process]:
    from ministack.core import lambda_runtime as runtime

    with runtime._lock:
        workers = [worker for entries in runtime._workers.values() for worker in entries]
    running = [
        worker._proc for worker in workers if worker.func_name == function and worker._proc is not None
    ]
    return [psutil.Process(process.pid) for process in running if process.poll() is None]


def _started(arguments: Sequence[str], *, env: Mapping[str, str], cwd: str, **more: Any) -> Any:
    """subprocess.Popen as the runtime calls it: a fork where the function has a layer."""
    if arguments[0] == sys.executable and env.get(_LAYERS):
        return _Fork(_zygote(env[_LAYERS]), arguments[1], env, cwd)
    return subprocess.Popen(arguments, env=env, cwd=cwd, **more)


class _Zygote:
    """A process of zygote.py."""

    def __init__(self, layers: str) -> None:
        self._lock = threading.Lock()
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("zygote.py")), str(theirs.fileno())],
                env={**os.environ, _LAYERS: layers},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, script: str, environment: Mapping[str, str], directory: str, streams: list[int]) -> int:
        """The process id of a fork that runs the script. Raises OSError when there is no zygote any more."""
        document = {"script": script, "environment": dict(environment), "directory": directory}
        with self._lock:
            socket.send_fds(self._door, [json.dumps(document).encode()], streams)
            answer = self._door.recv(64)
        if not answer:
            raise OSError("The process that functions' processes fork of has ended.")
        return int(answer)


@functools.cache
def _zygote(layers: str) -> _Zygote:
    return _Zygote(layers)


class _Fork:
    """As much of subprocess.Popen as the runtime uses, of a process whose parent is the zygote."""

    def __init__(self, zygote: _Zygote, script: str, environment: Mapping[str, str], directory: str) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_err, theirs_err = os.pipe()
        self.pid = zygote.fork(script, environment, directory, [theirs_in, theirs_out, theirs_err])
        for stream in (theirs_in, theirs_out, theirs_err):
            os.close(stream)
        self.stdin = os.fdopen(ours_in, "w", buffering=1)
        self.stdout = os.fdopen(ours_out)
        self.stderr = os.fdopen(ours_err)
        self.returncode: int | None = None
        try:
            self._handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self.returncode = 1

    def poll(self) -> int | None:
        """None while it runs. Its code is the zygote's to know; here it is always 1."""
        if self.returncode is None and self._over(0):
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not self._over(timeout):
                raise subprocess.TimeoutExpired("function", timeout or 0)
            self._ended()
        return 1

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def _over(self, seconds: float | None) -> bool:
        watch = select.poll()  # select() knows no more than 1,024 files.
        watch.register(self._handle, select.POLLIN)
        return bool(watch.poll(None if seconds is None else 1000 * seconds))

    def _ended(self) -> None:
        self.returncode = 1
        os.close(self._handle)
