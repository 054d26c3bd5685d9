"""Checkpoints of a training job: a folder on each host, synchronized to an S3 prefix as SageMaker does.

When the job starts, the folder receives the files under the prefix. From then on, new and changed files are
uploaded, and files that the script deletes are deleted in S3. Later changes in S3 are not downloaded. All
hosts of a job share the prefix, so one host must write, or each host under its own names.

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
"""Seconds between two synchronizations."""

_TEMPORARY = re.compile(r"^\.|\.(tmp|part|partial)$|~$")
"""Names of files that are still being written; their writer renames them when they are complete."""

_Signature = tuple[int, int, int]

log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoint folder of one host."""

    def __init__(self, store: ObjectStore, uri: str, directory: Path, every: float = EVERY) -> None:
        """Raise ValueError unless `uri` is an S3 URI. The prefix is a folder, with or without a final "/"."""
        self._store = store
        self._bucket, prefix = split_uri(uri)
        self._folder = f"{prefix.rstrip('/')}/".removeprefix("/")
        self._directory = directory
        self._every = every
        self._uploaded: dict[str, _Signature] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def download(self, still_wanted: Callable[[], None]) -> None:
        """Create the folder and fill it from S3; raise StoreError, or what `still_wanted` raises."""
        self._directory.mkdir()
        download_prefix(self._store, f"s3://{self._bucket}/{self._folder}", self._directory, still_wanted)
        self._uploaded = self._files()

    def follow(self) -> None:
        """Start to synchronize the folder to S3."""
        self._thread = threading.Thread(target=self._keep_following, name="checkpoints", daemon=True)
        self._thread.start()

    def abandon(self) -> None:
        """Stop the synchronization."""
        self._over.set()
        if self._thread:
            self._thread.join()

    def finish(self) -> None:
        """Upload the last changes after the host's processes have ended; raise StoreError if that fails."""
        self.abandon()
        self._bring()

    def _keep_following(self) -> None:
        while not self._over.wait(self._every):
            try:
                self._bring()
            except StoreError as error:
                # The next synchronization retries.
                log.warning("Cannot upload checkpoints to s3://%s/%s: %s", self._bucket, self._folder, error)

    def _bring(self) -> None:
        found = self._files()
        # Oldest first: a file that a script writes last may refer to files that it wrote earlier.
        for name in sorted(found, key=lambda name: found[name][0]):
            if self._uploaded.get(name) != found[name]:
                # The next synchronization handles a file that has just been deleted or replaced.
                with contextlib.suppress(FileNotFoundError):
                    self._store.upload(self._directory / name, self._bucket, self._folder + name)
                    self._uploaded[name] = found[name]
        for name in self._uploaded.keys() - found.keys():
            self._store.delete(self._bucket, self._folder + name)
            del self._uploaded[name]

    def _files(self) -> dict[str, _Signature]:
        """Return the complete files by their path in the folder, with values that change with the file."""
        files = {}
        for path in self._directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not _TEMPORARY.search(path.name):
                    status = path.stat()
                    signature = (status.st_mtime_ns, status.st_size, status.st_ino)
                    files[path.relative_to(self._directory).as_posix()] = signature
        return files
