"""Reading one item: from uploaded objects to checked text in blocks, and what was left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from contracts.dataset import Item, ItemResult

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def read(
    s3: S3Client, bucket: str, dataset: str, item: Item, write: Callable[[bytes], object], seconds: float
) -> ItemResult:
    """Read an item's objects and write their text.

    The content of a file never raises an error: a file that is no text is left out with a reason.

    Args:
        s3: the client for the uploaded objects.
        bucket: their bucket.
        dataset: the dataset's name.
        item: from the plan.
        write: receives the text in UTF-8, in the order of the item's object; at most 64 MiB and a line at once.
        seconds: how long reading may take. A file that takes longer is left out.

    Raises:
        DatasetReplaced: An object was replaced or deleted since it was listed. List the uploads again.
        PipelineError: S3 refused for another reason.
    """
    raise NotImplementedError
