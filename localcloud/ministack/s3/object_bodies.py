"""Where the bodies of objects are.

AWS: a bucket holds any number of objects of any size, and a range is read without the rest of its object.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/range-get-olap.html
MiniStack: with S3_PERSIST it keeps objects on disk. But the body of each version in a versioned bucket stays
in memory, too, and for a range the whole object is read.
Here: the bodies of versions are on disk only, and a range is read from the object's file.
"""

import contextlib
import contextvars
import functools
import mmap
from pathlib import Path
from typing import Any

_is_range = contextvars.ContextVar("is_range", default=False)


def patch() -> None:
    """Keep bodies on disk only, and read ranges from there."""
    from ministack.services import s3

    make_entry, get_object, read_body = s3._version_entry_from_record, s3._get_object, s3._read_body

    @functools.wraps(make_entry)
    def entry_without_body(record: dict[str, Any], version_id: str, _: bytes | None) -> Any:
        # MiniStack looks for the body in the file of the version, and in that of the object.
        return make_entry(record, version_id, None)

    @functools.wraps(get_object)
    def get_noting_range(
        bucket: str, key: str, headers: dict[str, str], query: dict[str, Any] | None = None
    ) -> Any:
        # MiniStack returns the whole of a version, whatever the range.
        before = _is_range.set(bool(headers.get("range")) and "versionId" not in (query or {}))
        try:
            return get_object(bucket, key, headers, query)
        finally:
            _is_range.reset(before)

    @functools.wraps(read_body)
    def read_or_map(bucket: str, key: str, record: dict[str, Any]) -> Any:
        path = s3._object_disk_path(bucket, key)
        if _is_range.get() and record.get("body") is None and path is not None:
            # MiniStack takes a slice of the result. That of a mapped file is bytes. An empty file has no map.
            with contextlib.suppress(OSError, ValueError), Path(path).open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return read_body(bucket, key, record)

    s3._version_entry_from_record = entry_without_body
    s3._get_object = get_noting_range
    s3._read_body = read_or_map
