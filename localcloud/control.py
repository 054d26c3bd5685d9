"""Start, find and stop the local cloud.

    cloud = control.start(Path(".lexline"))
    cloud.client("s3").list_buckets()
    control.stop(cloud.state_dir)

A state directory has at most one server and contains everything that the server stores. `stop` ends the
server with all its processes and removes the directory. The directory must therefore be the local cloud's
own, which the file `lock` in it shows. A directory with other content and without `lock` is neither used nor
removed.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import psutil
from botocore.config import Config

from localcloud.proxies import past_proxies

_PACKAGE_ROOT = Path(__file__).resolve().parent.parent
_LOG_TAIL = 20
# The longest wait for a server, or for a killed process, to end. Most machines need a second.
_PATIENCE = 30.0
# psutil computes a process's creation time from the boot time, which changes with the kernel's clock.
_CREATED_TOLERANCE = 2.0
_creating_a_client = threading.Lock()


class LocalCloudError(RuntimeError):
    """The local cloud could not be started. The message ends with the last lines of its log."""


class OtherFiles(LocalCloudError):
    """The directory contains files that are not a local cloud's, so it is not used."""


@dataclass(frozen=True)
class LocalCloud:
    """The address of a running local cloud, and the credentials of its administrator."""

    state_dir: Path
    endpoint_url: str
    region: str
    account: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    pid: int

    def environment(self) -> dict[str, str]:
        """Return this process's environment with the local cloud's AWS_* variables instead of all others.

        Requests to the local cloud go past the environment's proxies.
        """
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **past_proxies(others),
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Some operations have a host prefix of their own, e.g. TestState:
            # sync-states.REGION.amazonaws.com.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }

    def client(self, service: str, *, config: Config | None = None, **arguments: Any) -> Any:
        """Return a boto3 client of the local cloud, whatever AWS profile the environment names.

        A client without further arguments is created once for each service, because that takes 10 ms.
        """
        merged = Config(inject_host_prefix=False, proxies={}).merge(config or Config())
        # A session is not thread-safe. Its clients are.
        with _creating_a_client:
            plain = config is None and not arguments
            if plain and service in self._clients:
                return self._clients[service]
            client = self._session.client(service, endpoint_url=self.endpoint_url, config=merged, **arguments)
            if plain:
                self._clients[service] = client
            return client

    @functools.cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    @functools.cached_property
    def _session(self) -> Any:
        """Return the session of all clients. It caches the models of services, which take long to read."""
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
    timeout: float = 180.0,
    beside: Container[str] = (),
    module: str = "localcloud",
) -> LocalCloud:
    """Start a server in the background, in a session of its own, and wait until it is ready.

    The files of an earlier server that was killed are removed first.

    Args:
        state_dir: The directory for everything that the cloud stores.
        owner: The id of a process. The server ends after it. Without an owner, the server runs until `stop`.
        environment: Variables for the server, its Lambda functions and its jobs, e.g. SFN_WAIT_SCALE.
        timeout: The longest wait in seconds.
        beside: Names of the caller's own files in the directory. `stop` removes them, too.
        module: The program to run. It takes the arguments of `python -m localcloud`.

    Raises:
        LocalCloudError: A server already runs there, the directory contains other files, or the server ended
            or was not ready in time.
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
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), "wb") as output:
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
    try:
        while process.poll() is None:
            cloud = load(state)
            if cloud is not None and cloud.pid == process.pid:
                return cloud
            if time.monotonic() > deadline:
                _end(psutil.Process(process.pid), grace=1.0)
                raise LocalCloudError(f"The local cloud was not ready within {timeout:g} s{_tail(log)}")
            time.sleep(0.05)
    except KeyboardInterrupt:
        _end(psutil.Process(process.pid), grace=1.0)
        raise
    raise LocalCloudError(f"The local cloud ended with code {process.returncode} while starting{_tail(log)}")


def claim(state: Path, beside: Container[str] = ()) -> None:
    """Create a local cloud's directory, or mark an empty one.

    Args:
        state: The directory.
        beside: Names of files that may be in the directory.

    Raises:
        OtherFiles: The directory contains other files and is not a local cloud's.
    """
    if state.is_dir() and not is_claimed(state):
        others = sorted(entry.name for entry in state.iterdir() if entry.name not in beside)
        if others:
            raise OtherFiles(
                f"{state} is not a local cloud's folder: it holds {others[0]}. The local cloud deletes its "
                "folder at the end."
            )
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), (state / "lock").open("xb", buffering=0) as lock:
        lock.write(b"{}")


def is_claimed(state_dir: Path) -> bool:
    """Check whether the directory is a local cloud's, with or without a running server."""
    return _lock(state_dir.resolve()) is not None


def load(state_dir: Path) -> LocalCloud | None:
    """Return the server that runs in this directory, or None if none runs."""
    state = state_dir.resolve()
    record = _read(state / "server.json")
    if record is None or _process(record) is None:
        return None
    return LocalCloud(state, **{item.name: record[item.name] for item in fields(LocalCloud)[1:]})


def stop(state_dir: Path) -> None:
    """End the server in this directory with every process that it started, and remove the directory.

    Do nothing if the directory does not exist or is not a local cloud's.
    """
    state = state_dir.resolve()
    record = _lock(state)
    if record is None:
        return
    process = _process(record)
    if process is not None:
        _end(process, grace=_PATIENCE)
    _delete(state)


def _delete(folder: Path) -> None:
    """Delete a folder with thousands of files, in a process of its own.

    shutil.rmtree gives up the interpreter's lock at each of its system calls. If another thread of the caller
    computes, as in a test session, each call then waits for the lock, up to 5 ms (sys.getswitchinterval).
    """
    subprocess.run(["rm", "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)


def alive(process: psutil.Process) -> bool:
    """Check whether a process runs. A zombie does not: in a container, nobody may ever wait for it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end(process: psutil.Process, grace: float) -> None:
    """Send SIGTERM, after `grace` seconds SIGKILL, and then SIGKILL to each descendant that still runs."""
    descendants = process.children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if _wait([process], grace):
            descendants = process.children(recursive=True)
            process.kill()
            _wait([process], _PATIENCE)
    # The supervisors of the server's processes end by themselves after the server.
    for descendant in _wait(descendants, 5.0):
        with contextlib.suppress(psutil.NoSuchProcess):
            descendant.kill()
    _wait(descendants, _PATIENCE)


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until the processes have ended, and return those that still run after so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _process(record: Mapping[str, Any]) -> psutil.Process | None:
    """Return the process that wrote this record; None if it has ended, even if its id was used again."""
    if "pid" not in record:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(record["pid"])
        if abs(process.create_time() - record["created"]) < _CREATED_TOLERANCE and alive(process):
            return process
    return None


def _lock(state: Path) -> dict[str, Any] | None:
    """Return the lock's content, empty before the first server; None if there is none."""
    record = _read(state / "lock")
    return record if record is not None and record.keys() <= {"pid", "created"} else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
    return "".join(f"\n  {line}" for line in lines)
