"""An S3 object as a read-only file, fetched in ranges.

Nothing is stored on disk, and a broken connection costs one range, not the whole object. A small object is
one range. Those of a large one start small after a seek, because the members of a zip lie apart, and double
while the reading is sequential.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import DatasetReplaced, PipelineError, code_of, translate, translated

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3 import S3Client

FIRST_RANGE = 64 * 1024
LARGEST_RANGE = 8 * 1024**2
# Only the central directory of a zip is read in one piece. This holds more than 50,000 entries.
LONGEST_READ = 8 * 1024**2
ATTEMPTS = 3


class ReadTooLong(ValueError):
    """A single read would exceed LONGEST_READ bytes, probably because the file states a false length."""


class ObjectReader(io.BufferedReader):
    """A buffered file over one version of an S3 object.

    `etag` and `size` come from the listing. Every request asks for that ETag, so all bytes belong to the
    same upload. `before_request` may raise an error to end the reading.

    Raises:
        DatasetReplaced: The object was uploaded again or deleted since it was listed.
        PipelineError: S3 refused for another reason, translated by `core.errors`.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        key: str,
        etag: str,
        size: int,
        before_request: Callable[[], None] = lambda: None,
    ) -> None:
        self.uri = f"s3://{bucket}/{key}"
        self.key = key
        self.etag = etag
        self.size = size
        self.version_id = ""  # known after the first read; stays empty in a bucket without versions
        self._s3 = s3
        self._bucket = bucket
        self._before_request = before_request
        super().__init__(_Ranges(self._get, size), LARGEST_RANGE)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return exactly `size` bytes, or fewer at the end of the object."""
        left = max(0, self.size - self.tell())
        size = left if size is None or size < 0 else min(size, left)
        if size > LONGEST_READ:
            raise ReadTooLong(f"{size:,} bytes requested at once")
        return super().read(size)

    def _get(self, first: int, last: int, attempts: int = ATTEMPTS) -> bytes:
        self._before_request()
        try:
            response = self._s3.get_object(
                Bucket=self._bucket, Key=self.key, Range=f"bytes={first}-{last}", IfMatch=self.etag
            )
            body = response["Body"].read()
        except ClientError as error:
            raise self._explained(error) from error
        except BotoCoreError as error:
            # boto3 retries a request, but not a response body that breaks off.
            if attempts == 1:
                raise translate(error) from error
            return self._get(first, last, attempts - 1)
        self.version_id = response.get("VersionId", "")
        return body

    def _explained(self, error: ClientError) -> PipelineError:
        code = code_of(error)
        if code in ("PreconditionFailed", "412"):
            return DatasetReplaced(f"{self.uri} was replaced while it was read. Start again.")
        if code in ("NoSuchKey", "404") or (code == "AccessDenied" and self._is_deleted()):
            return DatasetReplaced(f"{self.uri} was deleted while it was read. Start again.")
        return translate(error)

    def _is_deleted(self) -> bool:
        # S3 answers AccessDenied for a missing object to a role that may not list the whole bucket.
        with translated():
            listing = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self.key, MaxKeys=1)
        return self.key not in [item["Key"] for item in listing.get("Contents", [])]


class _Ranges(io.RawIOBase):
    """The unbuffered file: each `readinto` gets one range, by its first and last byte."""

    def __init__(self, get: Callable[[int, int], bytes], size: int) -> None:
        self._get = get
        self._size = size
        self._position = 0
        self._first_range = FIRST_RANGE if size > LARGEST_RANGE else LARGEST_RANGE
        self._next_range = self._first_range

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if target < 0:
            raise OSError("seek before the start of the object")
        if target != self._position:
            self._position, self._next_range = target, self._first_range
        return target

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        size = min(len(view), self._next_range, self._size - self._position)
        if size <= 0:
            return 0
        view[:size] = self._get(self._position, self._position + size - 1)
        self._position += size
        self._next_range = min(2 * self._next_range, LARGEST_RANGE)
        return size
