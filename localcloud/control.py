"""Start, find and stop the local cloud.

    cloud = control.start(Path(".lexline"))
    cloud.client("s3").list_buckets()
    control.stop(cloud.state_dir)

There is at most one server per state directory, and the directory holds everything it keeps: `stop` ends the
server's whole process tree and removes the directory. So it has to be the local cloud's own: the file `lock`
in it says that it is, and a directory without one that holds anything is neither used nor removed.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import psutil
from botocore.config import Config

REGION = "us-east-1"
ACCOUNT = "000000000000"

_PACKAGE_ROOT = Path(__file__).resolve().parent.parent
_LOG_TAIL = 20
_CLOSE_SECONDS = 15.0
# psutil derives the time from the boot time, which the kernel's clock adjustments shift a little.
_CREATED_TOLERANCE = 2.0
_making_a_client = threading.Lock()


class LocalCloudError(RuntimeError):
    """The local cloud could not be started; the message ends with what its log says."""


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud: where it answers, and the credentials of its administrator."""

    state_dir: Path
    endpoint_url: str
    region: str
    account: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    pid: int

    def environment(self) -> dict[str, str]:
        """This process's environment with the local cloud's AWS_* variables in place of any others."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **kept,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Some operations have hosts of their own, as TestState has sync-states.REGION.amazonaws.com.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }

    def client(self, service: str, *, config: Config | None = None, **arguments: Any) -> Any:
        """A boto3 client of the local cloud, whatever AWS profile the caller's environment names.

        One without further arguments is made once, for it takes a hundredth of a second.
        """
        one_host = Config(inject_host_prefix=False).merge(config or Config())
        # A session makes one client at a time; the clients themselves may be used from any thread.
        with _making_a_client:
            plain = config is None and not arguments
            if plain and service in self._clients:
                return self._clients[service]
            made = self._session.client(service, endpoint_url=self.endpoint_url, config=one_host, **arguments)
            if plain:
                self._clients[service] = made
            return made

    @functools.cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    @functools.cached_property
    def _session(self) -> Any:
        """One for all clients: it keeps the models of services, which take long to read."""
        # Session variable: (configuration key, environment variables, default, conversion).
        without_profile: dict[str, Any] = {"profile": (None, [], None, None)}
        return boto3.Session(
            botocore_session=botocore.session.Session(session_vars=without_profile),
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
        )


def start(
    state_dir: Path,
    *,
    owner: int | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    beside: Container[str] = (),
    module: str = "localcloud",
) -> LocalCloud:
    """Start a server in the background, in a session of its own, and wait until it answers.

    With `owner` it ends when that process does; without, it lives until `stop`. `environment` is added to
    what the server, its Lambda functions and its jobs inherit, e.g. SFN_WAIT_SCALE. What a killed server has
    left in the directory is cleared away. `beside` names what else of the caller's may be in it, to be
    removed with it. `module` is the program to run, with the arguments of `python -m localcloud`.

    Raises LocalCloudError when one already runs there, when the directory is somebody else's, or when the
    server ends, or is not ready in `timeout` seconds.
    """
    state = state_dir.resolve()
    if load(state) is not None:
        raise LocalCloudError(f"A local cloud already runs in {state}")
    claim(state, beside)
    command = [sys.executable, "-m", module, "--state-dir", str(state)]
    if owner is not None:
        command += ["--owner", str(owner)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    log = state / "server.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=_PACKAGE_ROOT,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        cloud = load(state)
        if cloud is not None and cloud.pid == process.pid:
            return cloud
        if time.monotonic() > deadline:
            _end(psutil.Process(process.pid), grace=1.0)
            raise LocalCloudError(f"The local cloud was not ready within {timeout:g} s{_tail(log)}")
        time.sleep(0.05)
    raise LocalCloudError(f"The local cloud ended with code {process.returncode} while starting{_tail(log)}")


def claim(state: Path, beside: Container[str] = ()) -> None:
    """Make the directory a local cloud's. Raises LocalCloudError when it holds anything else."""
    if state.is_dir() and not is_claimed(state):
        others = sorted(entry.name for entry in state.iterdir() if entry.name not in beside)
        if others:
            raise LocalCloudError(
                f"{state} is not a local cloud's directory: it holds {others[0]}. What is in such a one "
                "is deleted with the local cloud, so name one that is empty or not there yet."
            )
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), (state / "lock").open("x") as lock:
        lock.write("{}")


def is_claimed(state_dir: Path) -> bool:
    """Whether the directory is a local cloud's, running or not."""
    return _lock(state_dir.resolve()) is not None


def load(state_dir: Path) -> LocalCloud | None:
    """The server that runs in this directory, or None when there is none or it has been killed."""
    state = state_dir.resolve()
    written = _read(state / "server.json")
    if written is None or _process(written) is None:
        return None
    return LocalCloud(
        state_dir=state,
        endpoint_url=f"http://127.0.0.1:{written['port']}",
        region=REGION,
        account=ACCOUNT,
        access_key_id=written["access_key_id"],
        secret_access_key=written["secret_access_key"],
        pid=written["pid"],
    )


def stop(state_dir: Path) -> None:
    """End the server in this directory, with every process it started, and remove the directory.

    Nothing there, or nothing running there, is as good. A directory no local cloud has used is left alone.
    """
    state = state_dir.resolve()
    written = _lock(state)
    if written is None:
        return
    process = _process(written)
    if process is not None:
        _end(process, grace=_CLOSE_SECONDS)
    shutil.rmtree(state, ignore_errors=True)


def _end(process: psutil.Process, grace: float) -> None:
    """SIGTERM, then SIGKILL after `grace` seconds; then SIGKILL for any descendant that is still there."""
    descendants = process.children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(grace)
        except psutil.TimeoutExpired:
            descendants = process.children(recursive=True)
            process.kill()
            process.wait(grace)
    # Its supervisors end their processes by themselves when the server is gone; they get the time to.
    _, alive = psutil.wait_procs(descendants, timeout=5)
    for descendant in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            descendant.kill()
    psutil.wait_procs(alive, timeout=5)


def _process(written: Mapping[str, Any]) -> psutil.Process | None:
    """The process that wrote this, and no later one of the same id."""
    if "pid" not in written:
        return None
    try:
        process = psutil.Process(written["pid"])
        alive = process.status() != psutil.STATUS_ZOMBIE
        same = abs(process.create_time() - written["created"]) < _CREATED_TOLERANCE
    except psutil.NoSuchProcess:
        return None
    return process if alive and same else None


def _lock(state: Path) -> dict[str, Any] | None:
    """What a local cloud's lock says, nothing before its first server; None in any other directory."""
    written = _read(state / "lock")
    return written if written is not None and written.keys() <= {"pid", "created"} else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
    return "".join(f"\n  {line}" for line in lines)
