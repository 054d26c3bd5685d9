"""A process that has imported what functions import, and of which their processes fork (`lambda_forks`).

    python -P lambda_zygote.py FD LAYERS

LAYERS are the folders of the layers. FD is a socket: for each message, a JSON document with three file
descriptors, a process is forked that runs the document's script with these as its standard streams; the
answer is its process id. It ends with the socket.
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

_MOST_BYTES = 1 << 20
# What this environment brings along, Lambda's runtime does not, and the SDK imports where it is there.
_NOT_THERE = ("awscrt", "OpenSSL")
IMPORTED = (
    "boto3",
    "botocore.handlers",
    "pydantic",
    "aws_lambda_powertools.utilities.parser",
    "aws_xray_sdk.core",
    "chalice",
    "jinja2",
)
"""What functions import that takes long."""
_SERVICES = ("dynamodb", "s3", "sagemaker", "sagemaker-runtime", "sns", "stepfunctions")


def prepare(layers: str) -> None:
    """Import what functions import, as far as it is there, and read the models of the services they call."""
    for name in _NOT_THERE:
        sys.modules[name] = None  # type: ignore[assignment]
    for layer in layers.split(os.pathsep):
        sys.path.insert(0, os.path.join(layer, "python"))  # noqa: PTH118 - as the worker's script does it
    # By this the X-Ray SDK knows a function's process, when it is imported.
    os.environ["LAMBDA_TASK_ROOT"] = "/var/task"
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import boto3
    import botocore.loaders

    # A session keeps them for itself; here they outlive it.
    read = functools.cache(botocore.loaders.JSONFileLoader().load_file)
    botocore.loaders.JSONFileLoader.load_file = lambda self, file_path: read(file_path)  # type: ignore[method-assign]
    # No request is made; without credentials they would be looked for on the network.
    none: dict[str, Any] = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    session: Any = boto3.Session(**none, region_name="us-east-1")
    for service in _SERVICES:
        session.client(service)
    for name in _NOT_THERE:
        del sys.modules[name]


def serve(door: socket.socket) -> None:
    """Fork for every message, until nobody is there to send one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for the children; the system removes them.
    while True:
        message, streams, _, _ = socket.recv_fds(door, _MOST_BYTES, 3)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            door.close()
            _become(json.loads(message), streams)
        for stream in streams:
            os.close(stream)
        door.send(str(pid).encode())


def _become(wanted: dict[str, Any], streams: list[int]) -> NoReturn:
    """Run the script as a process of its own would."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["directory"])
    code = 1
    try:
        runpy.run_path(wanted["script"], run_name="__main__")
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    prepare(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # Nothing of what was imported needs an end of its own.
