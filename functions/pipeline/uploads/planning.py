"""The plan of a dataset: which uploaded objects are read, and by which item.

The order of the keys is the order of the corpus. Small objects are grouped into one item, so that a thousand
poems do not take a thousand invocations. A large plain text is read in byte ranges by several items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from contracts.dataset import Item, LeftOut, Plan, PlannedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from uploads.listing import UploadedObject


def plan(s3: S3Client, bucket: str, dataset: str, listed: Sequence[UploadedObject]) -> Plan:
    """Return the items of a dataset.

    Args:
        s3: reads the first bytes of large objects, because only plain texts are read in ranges.
        bucket: the bucket with the uploads.
        dataset: the dataset's name.
        listed: all objects under uploads/<dataset>/, from `listing.listed`.

    Raises:
        DatasetNotFound: There is no object.
        DatasetEmpty: All objects are left out.
        DatasetReplaced: A large object changed since it was listed.
    """
    raise NotImplementedError
