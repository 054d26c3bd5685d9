"""Lambda: an environment of a function with layers starts as a fork, in a quarter of the time.

MiniStack starts a Python interpreter for each, which then imports the SDK, Powertools and Pydantic: more than
a second of a processor, for every function of the first run and for every one that is called twice at once.
AWS starts environments quickly by restoring memory that has been initialised before, too.
https://aws.amazon.com/blogs/compute/under-the-hood-how-aws-lambda-snapstart-optimizes-function-startup-latency/

For each set of layers there is one process that has the imports behind it (`lambda_zygote`); it ends with the
server. Without pidfds, which Linux has, MiniStack's own way stays.
"""

import functools
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localcloud.ministack.lambda_layers import LAYERS
from localcloud.ministack.lambda_zygote import IMPORTED

# A layer that was replaced needs none any more.
_MOST_ZYGOTES = 4
# The root's, for a fork shows the environment that its parent was started with.
_NOT_FOR_FUNCTIONS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

_logger = logging.getLogger("localcloud")
_making_a_zygote = threading.Lock()


def mend() -> None:
    """Start functions' processes as forks."""
    from ministack.core import lambda_runtime as runtime

    if hasattr(os, "pidfd_open"):
        runtime.subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": _started})


def _started(arguments: Sequence[str], *, env: Mapping[str, str], cwd: str, **more: Any) -> Any:
    """subprocess.Popen as the runtime calls it: a fork where the function has a layer."""
    if arguments[0] == sys.executable and env.get(LAYERS) and not _has_its_own(Path(cwd)):
        try:
            with _making_a_zygote:
                zygote = _zygote(env[LAYERS])
            return _Fork(zygote, arguments[1], env, cwd)
        except OSError:
            _logger.warning("%s starts without a fork, the next function with one", cwd, exc_info=True)
            _zygote.cache_clear()
    return subprocess.Popen(arguments, env=env, cwd=cwd, **more)


def _has_its_own(code: Path) -> bool:
    """Whether the artifact brings packages along that would be imported before it is looked into."""
    return any((code / name.partition(".")[0]).exists() for name in IMPORTED)


class _Zygote:
    """A process of lambda_zygote.py."""

    def __init__(self, layers: str) -> None:
        self._lock = threading.Lock()
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = str(Path(__file__).with_name("lambda_zygote.py"))
        with theirs:
            subprocess.Popen(
                # Without the program's own folder among those that modules are looked for in.
                [sys.executable, "-P", program, str(theirs.fileno()), layers],
                env={name: value for name, value in os.environ.items() if name not in _NOT_FOR_FUNCTIONS},
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


@functools.lru_cache(_MOST_ZYGOTES)
def _zygote(layers: str) -> _Zygote:
    return _Zygote(layers)


class _Fork:
    """As much of subprocess.Popen as the runtime uses, of a process whose parent is the zygote."""

    def __init__(self, zygote: _Zygote, script: str, environment: Mapping[str, str], directory: str) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_err, theirs_err = os.pipe()
        self.stdin = os.fdopen(ours_in, "w", buffering=1)
        self.stdout = os.fdopen(ours_out)
        self.stderr = os.fdopen(ours_err)
        self.returncode: int | None = None
        theirs = [theirs_in, theirs_out, theirs_err]
        try:
            self.pid = zygote.fork(script, environment, directory, theirs)
        finally:
            for stream in theirs:
                os.close(stream)
        try:
            self._handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self.returncode = 1
        else:
            # Not before: several threads may ask at once whether it still runs.
            weakref.finalize(self, os.close, self._handle)

    def poll(self) -> int | None:
        """None while it runs. Its code is the zygote's to know; here it is always 1."""
        if self.returncode is None and self._over(0):
            self.returncode = 1
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not self._over(timeout):
                raise subprocess.TimeoutExpired("function", timeout or 0)
            self.returncode = 1
        return self.returncode

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
