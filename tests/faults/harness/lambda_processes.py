"""The processes of functions: which function sent a request, and how to kill a process."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import psutil

_IMPORT = "    try:\n        mod = importlib.import_module(module_name)\n"
_SHORT_PAUSES = """    import botocore.endpoint, types
    botocore.endpoint.time = types.SimpleNamespace(
        sleep=lambda seconds: time.sleep(seconds * float(os.environ.get("SFN_WAIT_SCALE", "1"))))
"""


def shorten_sdk_pauses() -> None:
    """Scale the pauses before the SDK's retries in functions by SFN_WAIT_SCALE."""
    from ministack.core import lambda_runtime as runtime

    script = runtime._PYTHON_WORKER_SCRIPT
    if script.count(_IMPORT) != 1:
        raise RuntimeError(
            "MiniStack's Lambda worker imports handlers in another way. Adapt lambda_processes."
        )
    runtime._PYTHON_WORKER_SCRIPT = script.replace(_IMPORT, _SHORT_PAUSES + _IMPORT)


def caller_names(access_key: str) -> tuple[str, ...]:
    """Return the names of the function that signs with this key; () if it is no function's key."""
    from ministack.services import lambda_svc, sts

    session: dict[str, Any] = sts._sessions.get(access_key) or {}
    function = lambda_svc._functions.get(str(session.get("Arn", "")).rsplit("/", 1)[-1])
    return () if function is None else names(function["config"])


def names(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return a function's name and its handler's module, without the module's package."""
    module = str(config.get("Handler", "")).rpartition(".")[0]
    return str(config["FunctionName"]), module.rpartition(".")[2]


def exists(name: str) -> bool:
    """Return whether a function has this name, or a handler in a module of this name."""
    from ministack.services import lambda_svc

    return any(name in names(function["config"]) for function in lambda_svc._functions.values())


def kill(function: str, port: int) -> None:
    """Kill the function's process that this local TCP port belongs to, as the out-of-memory killer does."""
    for process in _processes(function):
        if any(connection.laddr.port == port for connection in process.net_connections("tcp4")):
            os.kill(process.pid, signal.SIGKILL)
            return
    raise RuntimeError(f"No process of {function} has port {port}.")


def kill_busy() -> None:
    """Kill every process that runs an invocation."""
    for worker in _workers():
        if worker.in_use and worker._proc is not None:
            worker._proc.kill()


def _processes(function: str) -> list[psutil.Process]:
    running = [worker._proc for worker in _workers() if worker.func_name == function and worker._proc]
    return [psutil.Process(process.pid) for process in running if process.poll() is None]


def _workers() -> list[Any]:
    from ministack.core import lambda_runtime as runtime

    with runtime._lock:
        return [worker for workers in runtime._workers.values() for worker in workers]
