"""The local cloud's process: MiniStack, SageMaker and Application Auto Scaling behind one loopback port.

Everything that the cloud stores is in its state directory, which has mode 0700:

    lock          locked while a server runs; contains the server's identity, and marks the directory as a
                  local cloud's
    server.json   mode 0600; exists while the server is ready; contains the server's identity, its URL and the
                  administrator's credentials
    server.log    the server's output (see localcloud.control, which starts the server)
    s3/ tmp/ sagemaker/ ministack/

No process survives the server, even after kill -9: Lambda workers notice the server's end by themselves, and
each SageMaker process has a supervisor that does.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import resource
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from hypercorn.asyncio import serve
from hypercorn.config import Config

from localcloud import control, ministack
from localcloud.proxies import past_proxies
from localcloud.regions import Regions, ServiceFactory

logger = logging.getLogger("localcloud")

ADMINISTRATOR = "lexline"
_STATE = ("s3", "tmp", "sagemaker", "ministack")
_OWNER_POLL = 0.5


class AlreadyRunning(RuntimeError):
    """Another server uses this state directory."""


def main(state_dir: Path, owner: int | None, factory: ServiceFactory) -> None:
    """Serve until SIGTERM, SIGINT or the owner's end, and end the process.

    Args:
        state_dir: The directory for everything that the cloud stores.
        owner: The id of a process. The server ends after it.
        factory: Creates the SageMaker service of a region.

    Raises:
        AlreadyRunning: The state directory has a server.
        LocalCloudError: The state directory contains something that is not a local cloud's.
    """
    state = state_dir.resolve()
    control.claim(state)
    state.chmod(0o700)
    os.umask(0o077)
    with _lock(state):
        _clear(state)
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = listener.getsockname()[1]
        _set_environment(state, port)
        _raise_file_limit()
        try:
            # asyncio.run would wait for every thread, and the threads of executions may run for minutes.
            asyncio.new_event_loop().run_until_complete(_serve(state, listener, port, owner, factory))
            code = 0
        except BaseException:
            logger.exception("The local cloud failed")
            code = 1
        (state / "server.json").unlink(missing_ok=True)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        # Do not wait for MiniStack's threads. Nothing that they write outlives the state directory.
        os._exit(code)


async def _serve(
    state: Path, listener: socket.socket, port: int, owner: int | None, factory: ServiceFactory
) -> None:
    stack = ministack.MiniStack(port)
    regions = Regions(stack, state / "sagemaker", factory)
    key, secret = ministack.new_credentials()

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    watch = loop.create_task(_watch(owner, ended)) if owner is not None else None

    async def ready() -> None:
        await stack.add_administrator(ADMINISTRATOR, key, secret)
        host = stack.current_host()
        place = {"endpoint_url": host.endpoint_url, "region": host.region, "account": host.account}
        credentials = {"access_key_id": key, "secret_access_key": secret}
        _write_private(state / "server.json", {**_identity(), **place, **credentials})
        command = shlex.join([sys.executable, "-m", "localcloud", "--state-dir", str(state), "--env"])
        print(f"The local cloud is ready at {host.endpoint_url}. In another shell:", flush=True)
        print(f'  eval "$({command})"', flush=True)

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    try:
        await serve(_announcing(stack.app, ready), config, shutdown_trigger=ended.wait)  # type: ignore[arg-type]
    finally:
        if watch is not None:
            watch.cancel()
        await asyncio.to_thread(regions.close)
        await asyncio.to_thread(stack.close)


def _announcing(app: ministack.AsgiApp, ready: Callable[[], Awaitable[None]]) -> ministack.AsgiApp:
    """Return the app with a call of `ready` after its start and before its first request."""

    async def announcing(scope: ministack.Scope, receive: ministack.Receive, send: ministack.Send) -> None:
        async def send_after_ready(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                await ready()
            await send(message)

        await app(scope, receive, send_after_ready if scope["type"] == "lifespan" else send)

    return announcing


async def _watch(owner: int, ended: asyncio.Event) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(owner)
        while control.alive(process):
            await asyncio.sleep(_OWNER_POLL)
    logger.warning("The owner, process %d, has ended", owner)
    ended.set()


@contextlib.contextmanager
def _lock(state: Path) -> Iterator[None]:
    """Hold the lock file, with this process's identity as its content."""
    with (state / "lock").open("r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"A local cloud already runs in {state}") from None
        # One write, padded over the previous content: a reader sees either one or the other.
        file.write(json.dumps(_identity()).encode().ljust(os.fstat(file.fileno()).st_size))
        yield


def _identity() -> dict[str, Any]:
    return {"pid": os.getpid(), "created": psutil.Process().create_time()}


def _clear(state: Path) -> None:
    """Remove the files of an earlier server that was killed, and create the directories."""
    (state / "server.json").unlink(missing_ok=True)
    for name in _STATE:
        shutil.rmtree(state / name, ignore_errors=True)
        (state / name).mkdir(mode=0o700)


def _set_environment(state: Path, port: int) -> None:
    """Replace the AWS_* variables with this cloud's, and exempt this machine from proxies.

    The functions, jobs and endpoints inherit the environment.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(past_proxies(os.environ) | ministack.options(state, port))


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON atomically to a file that only the owner can read."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
    draft.replace(path)
