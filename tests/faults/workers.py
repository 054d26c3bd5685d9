"""The processes that functions run in: whose a request is, killing one."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import psutil

_PLACE = "    try:\n        mod = importlib.import_module(module_name)\n"
_HURRY = """    import botocore.endpoint, types
    botocore.endpoint.time = types.SimpleNamespace(
        sleep=lambda seconds: time.sleep(seconds * float(os.environ.get("SFN_WAIT_SCALE", "1"))))
"""


def hurry() -> None:
    """Scale the pauses of functions' SDK by SFN_WAIT_SCALE."""
    from ministack.core import lambda_runtime as runtime

    script = runtime._PYTHON_WORKER_SCRIPT
    if script.count(_PLACE) != 1:
        raise RuntimeError("MiniStack's Lambda worker no longer imports a handler as it did.")
    runtime._PYTHON_WORKER_SCRIPT = script.replace(_PLACE, _HURRY + _PLACE)


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
