"""The local cloud's one process: MiniStack, SageMaker and Application Auto Scaling behind a loopback port.

Everything it keeps lies below its state directory (mode 0700):

    lock          held while a server runs; says which process, and that the directory is a local cloud's
    server.json   mode 0600: pid, port and the administrator's credentials; there from readiness to the end
    server.log    what the server prints (written by whoever starts it, see localcloud.control)
    s3/ tmp/ sagemaker/ ministack/

Lambda workers notice the end of this process by themselves, and every SageMaker process has a supervisor that
does, so that not even kill -9 leaves one behind.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil
from hypercorn.asyncio import serve
from hypercorn.config import Config

from localcloud import control, ministack
from localcloud.application_autoscaling.records import ScalableTargets
from localcloud.application_autoscaling.service import ApplicationAutoScaling
from localcloud.sagemaker.host import Host
from localcloud.sagemaker.hosting.scaling import ServedVariant, Targets

logger = logging.getLogger("localcloud")

ADMINISTRATOR = "lexline"
_STATE = ("s3", "tmp", "sagemaker", "ministack")
_OWNER_POLL = 0.5


class Service(Protocol):
    """What the server needs of the SageMaker service (localcloud.sagemaker.service.SageMaker)."""

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer one request."""

    def variant(self, endpoint: str, name: str) -> ServedVariant | None:
        """What an endpoint serves as the variant of this name."""

    def close(self) -> None:
        """End every process of every job and endpoint."""


ServiceFactory = Callable[[Host, Path, Targets], Service]


class AlreadyRunning(RuntimeError):
    """Another server holds this state directory."""


def main(state_dir: Path, owner: int | None, factory: ServiceFactory) -> None:
    """Serve until SIGTERM, SIGINT or the owner's end; does not return.

    Raises AlreadyRunning when the state directory has a server, LocalCloudError when it is somebody else's.
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
            # Not asyncio.run: it would wait for every thread, and an execution's may wait for minutes.
            asyncio.new_event_loop().run_until_complete(_serve(state, listener, port, owner, factory))
            code = 0
        except BaseException:
            logger.exception("The local cloud failed")
            code = 1
        (state / "server.json").unlink(missing_ok=True)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        # MiniStack's threads may be in the middle of anything; none of it outlives the state directory.
        os._exit(code)


async def _serve(
    state: Path, listener: socket.socket, port: int, owner: int | None, factory: ServiceFactory
) -> None:
    stack = ministack.MiniStack(port)
    targets = ScalableTargets()
    service = factory(stack.host, state / "sagemaker", targets)
    stack.serve("sagemaker", "SageMaker", service.handle)
    scaling = ApplicationAutoScaling(stack.host, targets, service.variant)
    stack.serve("application-autoscaling", "AnyScaleFrontendService", scaling.handle)
    key, secret = ministack.new_credentials()

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    watch = loop.create_task(_watch(owner, ended)) if owner is not None else None

    async def ready() -> None:
        await stack.add_administrator(ADMINISTRATOR, key, secret)
        _write_private(
            state / "server.json",
            {**_identity(), "port": port, "access_key_id": key, "secret_access_key": secret},
        )

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
        await asyncio.to_thread(service.close)
        await asyncio.to_thread(stack.close)


def _announcing(app: ministack.AsgiApp, ready: Callable[[], Any]) -> ministack.AsgiApp:
    """The app, with `ready` called when its start is complete and before its first request."""

    async def announcing(scope: ministack.Scope, receive: ministack.Receive, send: ministack.Send) -> None:
        async def sending(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                await ready()
            await send(message)

        await app(scope, receive, sending if scope["type"] == "lifespan" else send)

    return announcing


async def _watch(owner: int, ended: asyncio.Event) -> None:
    try:
        process = psutil.Process(owner)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(_OWNER_POLL)
    except psutil.NoSuchProcess:
        pass
    logger.warning("The owner, process %d, has ended", owner)
    ended.set()


@contextlib.contextmanager
def _lock(state: Path) -> Any:
    with (state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"A local cloud already runs in {state}") from None
        file.truncate(0)
        json.dump(_identity(), file)
        file.flush()
        yield


def _identity() -> dict[str, Any]:
    return {"pid": os.getpid(), "created": psutil.Process().create_time()}


def _clear(state: Path) -> None:
    """Remove what a server that was killed has left, and make the directories anew."""
    (state / "server.json").unlink(missing_ok=True)
    for name in _STATE:
        shutil.rmtree(state / name, ignore_errors=True)
        (state / name).mkdir(mode=0o700)


def _set_environment(state: Path, port: int) -> None:
    """Give this process, and the functions it starts, this cloud's settings and no other cloud's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(ministack.settings(state, port))


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only the owner can read, all at once."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
    draft.replace(path)
