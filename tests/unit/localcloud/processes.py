"""What the tests of jobs and fleets share: an object store in a directory, archives, waits, witnesses."""

import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from localcloud.sagemaker.artifacts import StoreError

AWS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody listens there: nothing may depend on a real S3
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}
DEADLINE = 60.0
"""Seconds a wait may take before its test fails; far more than any of them needs."""


class DirectoryStore:
    """Buckets as directories. Refuses what S3 refuses: what is not there, and actions that are denied."""

    def __init__(self, root: Path, denied: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.denied = denied

    def _bucket(self, action: str, bucket: str) -> Path:
        if action in self.denied:
            raise StoreError(f"AccessDenied: not authorized to perform: {action} on resource: {bucket}")
        if not (self.root / bucket).is_dir():
            raise StoreError("NoSuchBucket: The specified bucket does not exist")
        return self.root / bucket

    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        directory = self._bucket("s3:ListBucket", bucket)
        found = (str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
        yield from sorted(key for key in found if key.startswith(prefix))

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        source = self._bucket("s3:GetObject", bucket) / key
        if not source.is_file():
            raise StoreError("NoSuchKey: The specified key does not exist.")
        still_wanted()
        shutil.copyfile(source, path)

    def upload(self, path: Path, bucket: str, key: str) -> None:
        target = self._bucket("s3:PutObject", bucket) / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def archive(path: Path, files: dict[str, str]) -> Path:
    """A .tar.gz of text files."""
    staging = path.with_suffix(".d")
    for name, text in files.items():
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_text(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for entry in sorted(staging.iterdir()):
            tar.add(entry, arcname=entry.name)
    shutil.rmtree(staging)
    return path


def environment_with_repository() -> dict[str, str]:
    """The environment of a Python program that imports localcloud from this working tree."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; AssertionError naming what was awaited when it never does."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.02)


def processes_naming(text: str) -> list[int]:
    """The living processes, other than this one, whose environment or command line holds the text."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if text.encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
