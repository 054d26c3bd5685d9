"""The folder of a run's corpus: prepared/<dataset>/<run>/ with the plan, the items' results and the corpus.

    plan.json, items/NNNNN.json          work files, which training does not read
    corpus/NNNNN, corpus/manifest.json   the text of each item, and where the splits are

The manifest is written last. So a corpus with a manifest is complete. A step that is retried writes the same
objects again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from contracts.dataset import ItemResult, Manifest, Plan, Prepared

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class CorpusFolder:
    """The folder of one run. `prefix` is its key prefix, for deleting it."""

    def __init__(self, s3: S3Client, bucket: str, dataset: str, run: str) -> None:
        self.prefix = f"prepared/{dataset}/{run}/"
        self.uri = f"s3://{bucket}/{self.prefix}corpus/"
        self.manifest_uri = f"{self.uri}manifest.json"
        self.plan_key = f"{self.prefix}plan.json"  # the plan without its items
        self.items_key = f"{self.prefix}items.json"  # the items as a JSON array, for the Map's ItemReader
        self._s3 = s3
        self._bucket = bucket

    def write_plan(self, plan: Plan) -> None:
        """Write the plan: its items as an array of their own."""
        raise NotImplementedError

    def plan(self) -> Plan:
        """Return the plan that was written."""
        raise NotImplementedError

    def item_text(self, number: int) -> AbstractContextManager[ItemText]:
        """Return a context that writes the item's object; nothing is visible if the block raises."""
        raise NotImplementedError

    def write_result(self, number: int, result: ItemResult) -> None:
        """Write an item's result, after its text."""
        raise NotImplementedError

    def results(self, plan: Plan) -> Iterator[ItemResult]:
        """Yield the results of the plan's items, in their order.

        Raises:
            ServiceUnavailable: A result is missing.
        """
        raise NotImplementedError

    def publish(self, manifest: Manifest) -> Prepared:
        """Write the manifest with the preview of the text; return what the state machine passes on."""
        raise NotImplementedError


class ItemText:
    """The text of one item while it is written."""

    def write(self, text: bytes) -> None:
        """Append text."""
        raise NotImplementedError
