"""Registered models that run on this machine, each in a child process, so that they can be compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from lexline.aws import models as registry
from lexline.aws.models import Model
from lexline.aws.stack import Stack
from lexline.core.errors import UsageError, UserError

FILES = ("model.pt", "vocabulary", "config.json")
"""The files of an artifact that a model consists of."""
_MOST_MODELS = 2
"""How many models stay in memory. Each has a process with PyTorch, of about 300 MB."""
_MOST_BYTES = 4 * 1024**3
_PROGRAM = Path(__file__).with_name("model_process.py")


class LocalModels:
    """The models that run on this machine. Thread-safe.

    Args:
        stack: The stack whose models these are.
        folder: Gets the artifacts. The caller deletes it.
    """

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._lock = threading.Lock()
        self._running: dict[int, _ModelProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.end()

    def generate(self, version: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return a model's response to a request. The first request downloads and loads the model.

        Args:
            version: A registered model, as for registry.find.
            body: The body of the request.

        Raises:
            UsageError: There is no such model, or the request is invalid.
            UserError: The model cannot be run here.
        """
        with self._lock:
            model = registry.find(self._stack, version)
            process = self._running.pop(model.version, None)
            if process is None or not process.alive:
                process = self._start(model)
            # The last one is the one that was used last.
            self._running[model.version] = process
            while len(self._running) > _MOST_MODELS:
                self._running.pop(next(iter(self._running))).end()
            return process.respond(body)

    def _start(self, model: Model) -> _ModelProcess:
        folder = self._folder / str(model.version)
        if not all((folder / name).is_file() for name in FILES):
            self._download(model, folder)
        return _ModelProcess(folder, model.name)

    def _download(self, model: Model, folder: Path) -> None:
        address = urlsplit(registry.artifact(self._stack, model))
        folder.mkdir(exist_ok=True)
        archive = folder / "model.tar.gz"
        s3 = self._stack.target.s3
        if s3.head_object(Bucket=address.netloc, Key=address.path[1:])["ContentLength"] > _MOST_BYTES:
            raise UserError(
                f"The artifact of {model.name} is too large for this machine.", "Compare another model."
            )
        s3.download_file(address.netloc, address.path[1:], str(archive))
        try:
            _unpack(archive, folder)
        except (tarfile.TarError, EOFError, KeyError, OSError) as error:
            shutil.rmtree(folder)
            raise UserError(
                f"The artifact of {model.name} cannot be read: {error}.", "Compare another model."
            ) from error
        archive.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files that the model consists of. Other names in the archive are not used."""
    with tarfile.open(archive) as packed:
        for name in FILES:
            # `tar -C folder .` writes names with ./ before them.
            member = packed.getmember(name if name in packed.getnames() else f"./{name}")
            content = packed.extractfile(member)
            if content is None or member.size > _MOST_BYTES:
                raise KeyError(f"{name} is not a file of at most {_MOST_BYTES:,} bytes")
            with (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file)


class _ModelProcess:
    """A child process with one model."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env={**os.environ, "LEXLINE_MODEL": name},
                # Ctrl-C in the terminal is for the server, which then ends this process.
                start_new_session=True,
            )
        try:
            self._read()
        except BaseException:
            self.end()
            raise

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def respond(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the response."""
        try:
            print(json.dumps(body), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        document: dict[str, Any] = json.loads(line)
        if "error" in document:
            raise UsageError(document["error"], "Correct the request.")
        return document

    def _ended(self) -> UserError:
        self.end()
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return UserError(
            f"The model {self._name} ended on this machine. {lines[-1] if lines else ''}".strip(),
            "It may need more memory than is free. Try again, or compare another model.",
        )

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
