"""Transfers between S3 and the directory of a job or a model, and the archives that they hold."""

import functools
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import boto3
import botocore.config
import botocore.exceptions

# Older releases of tarfile have no `filter`.
if sys.version_info < (3, 11, 4):
    from backports import tarfile
else:
    import tarfile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1 << 20
_client_lock = threading.Lock()


class StoreError(Exception):
    """S3 refused the request or could not be reached; the message has S3's code and sentence."""


class BadArchive(Exception):
    """A file is not a gzipped tar archive, or contains something that must not be unpacked."""


class ObjectStore(Protocol):
    """The part of S3 that jobs and models need. Every method raises StoreError."""

    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with the prefix, in order."""

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        """Write the object to a file.

        Args:
            bucket: The object's bucket.
            key: The object's key.
            path: The file to write.
            still_wanted: Called repeatedly during the download; it raises to cancel.
        """

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Upload the file as one object, completely or not at all."""

    def delete(self, bucket: str, key: str) -> None:
        """Delete the object if it exists."""


class S3Store:
    """S3, with the credentials of a role's environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Clients are thread-safe; a session that creates clients is not.
        with _client_lock:
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
        """Yield the keys that begin with the prefix; needs s3:ListBucket."""
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield entry["Key"]
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        """Write the object to a file; needs s3:GetObject."""
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
            with path.open("wb") as file:
                for chunk in body.iter_chunks(_CHUNK):
                    file.write(chunk)
                    still_wanted()
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Upload the file in one request, so at most 5 GiB; needs s3:PutObject."""
        try:
            with path.open("rb") as file:
                self._client.put_object(Bucket=bucket, Key=key, Body=file)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error

    def delete(self, bucket: str, key: str) -> None:
        """Delete the object if it exists; needs s3:DeleteObject."""
        try:
            self._client.delete_object(Bucket=bucket, Key=key)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise _store_error(error) from error


@functools.cache
def _session() -> boto3.session.Session:
    """Return the session for all clients. It caches S3's service model, which is slow to load."""
    return boto3.session.Session()


def _store_error(error: Exception) -> StoreError:
    if isinstance(error, botocore.exceptions.ClientError):
        details = error.response["Error"]
        return StoreError(f"{details['Code']}: {details['Message']}")
    return StoreError(str(error))


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key (or prefix) of an s3:// URI; raise ValueError for any other text."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"not an S3 URI: {uri}")
    return bucket, key


def download_prefix(store: ObjectStore, uri: str, directory: Path, still_wanted: Callable[[], None]) -> int:
    """Download every object whose key begins with the URI's prefix.

    A file's path is the part of its key after the prefix, if the prefix is a whole folder: `x` for the prefix
    `data/train` and the key `data/train/x`. Otherwise it is the part after the prefix's last slash: `train/x`
    for the prefix `data/tr`. Keys that end in "/" mark empty folders and are skipped.

    Args:
        store: The store to read.
        uri: An s3:// URI.
        directory: The directory to write to.
        still_wanted: Called repeatedly during the download; it raises to cancel.

    Returns:
        The number of files written.

    Raises:
        StoreError: S3 refused the request, or a key would lead out of the directory.
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
            raise StoreError(f"InvalidKey: the object key {key} leads out of its folder; rename the object")
        path = directory / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(bucket, key, path, still_wanted)
        count += 1
    return count


def pack(directories: Sequence[Path], archive: Path) -> bool:
    """Pack the contents of several directories into one gzipped tar archive.

    The first directory wins if several have a file of the same name. The compression is light: weights hardly
    shrink, and the user waits.

    Returns:
        False, without an archive, if all directories are empty.
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
    """Unpack a gzipped tar archive inside the directory; raise BadArchive if that is not possible."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise BadArchive(f"{type(error).__name__}: {error}") from error
