"""A process that has imported the packages that functions use, and that forks for each of them (see `forks`).

    python -P fork_server.py FD LAYERS

LAYERS are the folders of the layers, separated as in PATH. FD is a socket. Each message is a JSON document
with three file descriptors: the process forks, the fork runs the document's script with these descriptors as
its standard streams, and the response is the fork's process id. The process ends when the socket is closed.
"""

import contextlib
import functools
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

# The SDK imports these if they are installed. They are in this environment, but not in Lambda's runtime.
_NOT_IN_LAMBDA = ("awscrt", "OpenSSL")
IMPORTED = (
    "boto3",
    "botocore.handlers",
    "pydantic",
    "aws_lambda_powertools.logging",
    "aws_lambda_powertools.metrics",
    "aws_lambda_powertools.tracing",
    "aws_lambda_powertools.utilities.parser",
    "aws_xray_sdk.core",
    "chalice",
    "jinja2",
    # Powertools' tracer imports it if it is installed, as it is in this environment.
    "requests",
)
"""The modules that functions import and that take long to import."""
_SERVICES = ("dynamodb", "s3", "sagemaker", "sagemaker-runtime", "sns", "stepfunctions")


def prepare(layers: str) -> None:
    """Import the modules that are installed, and read the SDK's models of the services."""
    for name in _NOT_IN_LAMBDA:
        sys.modules[name] = None  # type: ignore[assignment]
    for layer in layers.split(os.pathsep):
        sys.path.insert(0, os.path.join(layer, "python"))  # noqa: PTH118 - as the worker's script does it
    # With this variable the X-Ray SDK recognises, at its import, that it runs in a function.
    os.environ["LAMBDA_TASK_ROOT"] = "/var/task"
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import boto3
    import botocore.loaders

    # A session keeps the models for itself. This cache keeps them for the sessions of all forks.
    read = functools.cache(botocore.loaders.JSONFileLoader().load_file)
    botocore.loaders.JSONFileLoader.load_file = lambda self, file_path: read(file_path)  # type: ignore[method-assign]
    # No request is sent. Without credentials, the SDK would look for some on the network.
    credentials: dict[str, Any] = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    session: Any = boto3.Session(**credentials, region_name="us-east-1")
    for service in _SERVICES:
        session.client(service)
    for name in _NOT_IN_LAMBDA:
        del sys.modules[name]


def serve(connection: socket.socket) -> None:
    """Fork for every message until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel removes ended children; nobody waits for them.
    while True:
        message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run(json.loads(message), streams)
        for stream in streams:
            os.close(stream)
        connection.send(str(pid).encode())


def _run(document: dict[str, Any], streams: list[int]) -> NoReturn:
    """Run the script as if it had a process of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", buffering=1, encoding="utf-8") for fd in (1, 2))
    sys.__stderr__ = sys.stderr  # type: ignore[misc]
    os.environ.clear()
    os.environ.update(document["environment"])
    os.chdir(document["directory"])
    code = 1
    try:
        runpy.run_path(document["script"], run_name="__main__")
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    prepare(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # The imported modules need no orderly end.
