"""What moves between S3 and a job's or a model's directory."""

import functools
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import boto3
import botocore.config
import botocore.exceptions

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1 << 20
_making_a_client = threading.Lock()


class StoreError(Exception):
    """S3 refused or could not be reached; the message is S3's own: code, then sentence."""


class BadArchive(Exception):
    """A file is not a gzipped tar archive, or holds something that must not be unpacked."""


class ObjectStore(Protocol):
    """As much of S3 as jobs and models need. Every method raises StoreError."""

    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        """The keys that begin with prefix, in order."""

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        """Write the object to path; calls still_wanted now and then, which may raise to give up."""

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Make the object from the file: afterwards it is there whole, or not at all."""

    def delete(self, bucket: str, key: str) -> None:
        """Delete the object; one that is not there is no error."""


class S3Store:
    """S3 as the role whose credentials an environment holds sees it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # A session makes one client at a time; the clients themselves may be used from any thread.
        with _making_a_client:
            self._client: S3Client = _session().client(
                "s3",
                aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
                aws_session_token=environment.get("AWS_SESSION_TOKEN"),
                region_name=environment["AWS_REGION"],
                endpoint_url=environment["AWS_ENDPOINT_URL"],
                config=botocore.config.Config(
                    retries={"mode": "standard"},
                    connect_timeout=10,
                    read_timeout=60,
                    s3={"addressing_style": "path"},
                ),
            )

    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        """See ObjectStore; needs s3:ListBucket."""
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield entry["Key"]
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        """See ObjectStore; needs s3:GetObject."""
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
            with path.open("wb") as file:
                for chunk in body.iter_chunks(_CHUNK):
                    file.write(chunk)
                    still_wanted()
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """See ObjectStore; needs s3:PutObject. One request, so at most 5 GiB."""
        try:
            with path.open("rb") as file:
                self._client.put_object(Bucket=bucket, Key=key, Body=file)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error

    def delete(self, bucket: str, key: str) -> None:
        """See ObjectStore; needs s3:DeleteObject."""
        try:
            self._client.delete_object(Bucket=bucket, Key=key)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error


@functools.cache
def _session() -> boto3.session.Session:
    """One for all clients: it keeps S3's model, which takes long to read."""
    return boto3.session.Session()


def _store_error(error: Exception) -> StoreError:
    if isinstance(error, botocore.exceptions.ClientError):
        details = error.response["Error"]
        return StoreError(f"{details['Code']}: {details['Message']}")
    return StoreError(str(error))


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of an s3:// URI; ValueError for anything else."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"not an S3 URI: {uri}")
    return bucket, key


def download_prefix(store: ObjectStore, uri: str, directory: Path, still_wanted: Callable[[], None]) -> int:
    """Download every object whose key begins with the URI's; the number of files written.

    A file's path is its key without the prefix's folder, as SageMaker lays out a channel. Markers of empty
    folders (keys that end in "/") make no file. Raises StoreError, also for a key whose path would leave the
    directory.
    """
    bucket, prefix = split_uri(uri)
    folder = prefix if prefix.endswith("/") else prefix.rpartition("/")[0]
    count = 0
    for key in store.keys(bucket, prefix):
        still_wanted()
        if key.endswith("/"):
            continue
        name = key[len(prefix) :] if key.startswith(f"{prefix}/") else key[len(folder) :]
        relative = PurePosixPath(name.lstrip("/"))
        if ".." in relative.parts:
            raise StoreError(f"InvalidKey: the object key {key} leads out of its folder")
        path = directory / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(bucket, key, path, still_wanted)
        count += 1
    return count


def pack(directories: Sequence[Path], archive: Path) -> bool:
    """Write what directories hold, named relative to each, as one gzipped tar archive.

    Of files with the same name in several, the first directory's is taken. False, and no archive, if there is
    nothing in any. Compresses lightly: weights hardly shrink, and the wait is the user's.
    """
    found: dict[Path, Path] = {}
    for directory in directories:
        for path in directory.rglob("*"):
            found.setdefault(path.relative_to(directory), path)
    if not found:
        return False
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in sorted(found):
            tar.add(found[name], arcname=name, recursive=False)
    return True


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a gzipped tar archive; nothing lands outside the directory. Raises BadArchive."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise BadArchive(f"{type(error).__name__}: {error}") from error
