"""The plan of a dataset: which uploaded objects are read, and by which item.

The order of the keys is the order of the corpus. Small objects are grouped into one item, so that a thousand
poems do not take a thousand invocations. A large plain text is read in byte ranges by several items.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from contracts.dataset import Item, LeftOut, Plan, PlannedObject
from core.errors import DatasetEmpty, DatasetNotFound
from uploads import file_names, items, ranges
from uploads.file_kinds import HEAD
from uploads.left_out import left_out, nothing_left
from uploads.object_reader import ObjectReader

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from uploads.listing import UploadedObject

# What an item groups at most: bytes, objects, and bytes of JSON, because the state machine passes an item on.
GROUP_BYTES = 64 * 1024**2
GROUP_OBJECTS = 200
GROUP_JSON = 64 * 1024


class _Work(NamedTuple):
    """An item before it has its number."""

    objects: list[PlannedObject]
    first: int = 0
    end: int = 0


def plan(s3: S3Client, bucket: str, dataset: str, listed: Sequence[UploadedObject]) -> Plan:
    """Return the items of a dataset.

    Args:
        s3: reads the first bytes of large objects, because only plain texts are read in ranges.
        bucket: the bucket with the uploads.
        dataset: the dataset's name.
        listed: all objects under uploads/<dataset>/, from `listing.listed`.

    Raises:
        DatasetNotFound: There is no object.
        DatasetEmpty: Every object is left out.
        DatasetReplaced: A large object changed since it was listed.
    """
    folder = f"uploads/{dataset}/"
    entries = []
    objects = []
    for each in listed:
        name = each.key.removeprefix(folder)
        if name.endswith("/") or not name:
            if each.size:
                reason = "Its name ends with a slash, as that of a folder does. Upload it under another name."
                entries.append(LeftOut(name=name or "/", reason=reason))
        elif reason := file_names.why_not_named_as_text(name):
            entries.append(LeftOut(name=name, reason=reason))
        elif not each.size:
            entries.append(left_out(name, DatasetEmpty("It is empty. Upload it with its text.")))
        else:
            objects.append(PlannedObject(name=name, etag=each.etag, size=each.size))
    if not objects and not entries:
        raise DatasetNotFound(
            f"There is no object under s3://{bucket}/{folder}. Upload a corpus there, or correct the "
            "dataset's name."
        )
    if not objects:
        raise nothing_left(dataset, entries)

    def is_plain_text(planned: PlannedObject) -> bool:
        # Closing frees the buffer of 8 MiB, which a cycle of references would keep.
        with ObjectReader(s3, bucket, f"{folder}{planned.name}", planned.etag, planned.size) as source:
            return items.is_plain_text(source.read(HEAD), planned.name)

    work: list[_Work] = []
    group = _Group()
    for planned in objects:
        if planned.size <= GROUP_BYTES:
            if not group.has_room(planned):
                work.append(_Work(group.objects))
                group = _Group()
            group.add(planned)
            continue
        if group.objects:
            work.append(_Work(group.objects))
            group = _Group()
        if planned.size > ranges.RANGE and is_plain_text(planned):
            work.extend(_ranges(planned))
        else:
            work.append(_Work([planned]))
    if group.objects:
        work.append(_Work(group.objects))
    made = [Item(number=number, **each._asdict()) for number, each in enumerate(work)]
    return Plan(dataset=dataset, items=made, left_out=entries)


class _Group:
    """Small objects that become one item."""

    def __init__(self) -> None:
        self.objects: list[PlannedObject] = []
        self._bytes = 0
        self._json = 0

    def has_room(self, planned: PlannedObject) -> bool:
        """Return whether the object may join."""
        return (
            len(self.objects) < GROUP_OBJECTS
            and self._bytes + planned.size <= GROUP_BYTES
            and self._json + _json_size(planned) <= GROUP_JSON
        )

    def add(self, planned: PlannedObject) -> None:
        """Add an object for which there is room."""
        self.objects.append(planned)
        self._bytes += planned.size
        self._json += _json_size(planned)


def _json_size(planned: PlannedObject) -> int:
    return len(json.dumps(planned.model_dump()))


def _ranges(planned: PlannedObject) -> Iterator[_Work]:
    for first in range(0, planned.size, ranges.RANGE):
        yield _Work([planned], first, min(first + ranges.RANGE, planned.size))
