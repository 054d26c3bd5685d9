"""An S3 object as a seekable file, read in ranges and pinned to one ETag.

Nothing is stored on disk, and a broken connection costs one range, not the whole object. Ranges start small
after a seek (zip members lie apart) and double while the reading is sequential, up to BLOCK.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import DatasetNotFound, DatasetReplaced, code_of, translate, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FIRST_BLOCK = 64 * 1024
BLOCK = 8 * 1024 * 1024
# The longest single read. Only a zip's central directory is read whole: this holds over 50,000 entries.
LONGEST_READ = 8 * 1024 * 1024
ATTEMPTS = 3


class ReadTooLong(ValueError):
    """More was asked for at once than LONGEST_READ: a file format with a hostile length field."""


class ObjectReader:
    """Read-only file over one S3 object.

    `etag` and `size` are those of the listing; every range asks for that ETag (If-Match), so all bytes ever
    read belong to the same upload. `version_id` is known after the first read, and empty in an unversioned
    bucket.

    Raises DatasetReplaced when the object is not the listed one any more, DatasetNotFound when it is gone,
    and the translated error for any other refusal.
    """

    def __init__(self, s3: S3Client, bucket: str, key: str, etag: str, size: int) -> None:
        self._s3 = s3
        self.bucket = bucket
        self.key = key
        self.etag = etag
        self.size = size
        self.version_id = ""
        self._position = 0
        self._block = b""
        self._block_start = 0
        self._ahead = FIRST_BLOCK

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of the object")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes, or fewer at the end of the object."""
        left = max(0, self.size - self._position)
        wanted = left if size < 0 else min(size, left)
        if wanted > LONGEST_READ:
            raise ReadTooLong(f"{wanted} bytes asked for at once")
        pieces = []
        while wanted:
            start = self._position - self._block_start
            if not 0 <= start < len(self._block):
                self._fetch()
                start = 0
            piece = self._block[start : start + wanted]
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _fetch(self) -> None:
        """Make the block that starts at the position the current one."""
        sequential = self._position == self._block_start + len(self._block)
        self._ahead = min(2 * self._ahead, BLOCK) if sequential else FIRST_BLOCK
        last = min(self._position + self._ahead, self.size) - 1
        self._block = b""  # so that two blocks never stand in memory together
        self._block = self._get(self._position, last)
        self._block_start = self._position

    def _get(self, first: int, last: int) -> bytes:
        # boto retries a request, but not a body that breaks off while it is read.
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._s3.get_object(
                    Bucket=self.bucket, Key=self.key, Range=f"bytes={first}-{last}", IfMatch=self.etag
                )
                body = answer["Body"].read()
            except ClientError as error:
                if code_of(error) in ("PreconditionFailed", "412"):
                    raise DatasetReplaced(
                        f"{self.uri} was replaced while it was read; start again."
                    ) from error
                missing = code_of(error) in ("NoSuchKey", "404")
                if missing or (code_of(error) == "AccessDenied" and self._is_gone()):
                    raise DatasetNotFound(
                        f"{self.uri} was deleted while it was read; upload it again."
                    ) from error
                raise translate(error) from error
            except BotoCoreError as error:
                if attempt == ATTEMPTS:
                    raise translate(error) from error
            else:
                self.version_id = answer.get("VersionId", "")
                return body
        raise AssertionError("unreachable")

    def _is_gone(self) -> bool:
        # S3 denies access to a missing object to a role that may not list the whole bucket.
        with translated():
            listing = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=self.key, MaxKeys=1)
        return self.key not in [item["Key"] for item in listing.get("Contents", [])]
