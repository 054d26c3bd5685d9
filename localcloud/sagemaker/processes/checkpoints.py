"""A job's checkpoints: a folder of each host and a prefix of S3, kept alike as SageMaker keeps them.

At the start the folder gets what the prefix holds. From then on the prefix follows the folder: a file that is
new or changed goes up, one that the script deleted is deleted there too. What comes to the prefix later does
not come down. The hosts of a job share the prefix, so one of them writes, or each under names of its own.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

import contextlib
import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path

from localcloud.sagemaker.processes.artifacts import ObjectStore, StoreError, download_prefix, split_uri

EVERY = 5.0
"""Seconds between two looks at the folder."""

_TEMPORARY = re.compile(r"^\.|\.(tmp|part|partial)$|~$")
"""Names of files that are still being written, and get another name when they are whole."""

_Signature = tuple[int, int, int]

log = logging.getLogger(__name__)


class Checkpoints:
    """One host's folder of checkpoints."""

    def __init__(self, store: ObjectStore, uri: str, directory: Path, every: float = EVERY) -> None:
        """uri: the prefix, a folder whether or not it ends in "/". Raises ValueError if it is no S3 URI."""
        self._store = store
        self._bucket, prefix = split_uri(uri)
        self._folder = f"{prefix.rstrip('/')}/".removeprefix("/")
        self._directory = directory
        self._every = every
        self._there: dict[str, _Signature] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def download(self, still_wanted: Callable[[], None]) -> None:
        """Make the folder and fill it from S3. Raises StoreError, and what still_wanted raises."""
        self._directory.mkdir()
        download_prefix(self._store, f"s3://{self._bucket}/{self._folder}", self._directory, still_wanted)
        self._there = self._files()

    def follow(self) -> None:
        """From now on, bring what changes to S3."""
        self._thread = threading.Thread(target=self._keep_following, name="checkpoints", daemon=True)
        self._thread.start()

    def abandon(self) -> None:
        """Bring nothing more to S3."""
        self._over.set()
        if self._thread:
            self._thread.join()

    def finish(self) -> None:
        """The host's processes have ended: bring the last changes to S3. Raises StoreError."""
        self.abandon()
        self._bring()

    def _keep_following(self) -> None:
        while not self._over.wait(self._every):
            try:
                self._bring()
            except StoreError as error:
                # The next look, or the last one, tries again.
                log.warning("checkpoints do not reach s3://%s/%s: %s", self._bucket, self._folder, error)

    def _bring(self) -> None:
        found = self._files()
        # Oldest first: what a script writes last may name what it wrote before.
        for name in sorted(found, key=lambda name: found[name][0]):
            if self._there.get(name) != found[name]:
                # A file that has just gone is deleted, or has its successor brought, at the next look.
                with contextlib.suppress(FileNotFoundError):
                    self._store.upload(self._directory / name, self._bucket, self._folder + name)
                    self._there[name] = found[name]
        for name in self._there.keys() - found.keys():
            self._store.delete(self._bucket, self._folder + name)
            del self._there[name]

    def _files(self) -> dict[str, _Signature]:
        """Each whole file's path in the folder, and what changes when the file does."""
        files = {}
        for path in self._directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not _TEMPORARY.search(path.name):
                    status = path.stat()
                    signature = (status.st_mtime_ns, status.st_size, status.st_ino)
                    files[path.relative_to(self._directory).as_posix()] = signature
        return files
