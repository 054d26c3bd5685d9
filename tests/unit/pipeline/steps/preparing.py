"""The steps that prepare a dataset, over a bucket, a table and executions in memory."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.dataset import AssembleDatasetInput, Item, ListUploadsInput, ReadUploadInput
from contracts.request import ExecutionInput
from contracts.run import Execution, Lease, Run
from coordination import lease
from core import aws
from steps import assemble_dataset, list_uploads, read_upload
from tests.unit.pipeline.documents import ENVIRONMENT
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.uploads.s3_in_memory import BUCKET, S3InMemory, Versioning

SPLITS = ("train", "valid", "test")


class Preparation:
    """ListUploads, ReadUpload and AssembleDataset, as the state machine calls them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, versioning: Versioning = "Enabled") -> None:
        self.table = TableInMemory(ENVIRONMENT["TABLE"])  # first, because it empties all of moto
        self.s3 = S3InMemory(versioning)
        self.machine = ExecutionsInMemory(ENVIRONMENT["STATE_MACHINE_ARN"])
        monkeypatch.setenv("BUCKET", BUCKET)
        monkeypatch.setattr(aws, "s3", lambda: self.s3.client)
        monkeypatch.setattr(aws, "dynamodb", lambda: self.table.client)
        monkeypatch.setattr(aws, "stepfunctions", lambda: self.machine.client)

    def put(self, name: str, text: str | bytes, *, seconds: int | None = None) -> dict[str, Any]:
        """Upload an object of the dataset tales; return the event's upload."""
        data = text.encode() if isinstance(text, str) else text
        return self.s3.put(f"uploads/tales/{name}", data, seconds=seconds)

    def new_run(
        self,
        name: str = "lexline--tales-one",
        dataset: str = "tales",
        upload: Mapping[str, Any] | None = None,
    ) -> Run:
        """Return a run with the lease, started by a dataset's name or by an upload."""
        until = time.time() + lease.SECONDS
        self.table.put("endpoint/lexline", owner=name, generation=1, until=until, waiting={})
        work: dict[str, Any] = {"upload": upload} if upload else {"dataset": dataset}
        arn = self.machine.start(name, work)
        execution = Execution.model_validate({"id": arn, "started": "2026-11-23T12:00:00Z"})
        names = {"name": name, "subject": name, "dataset": dataset, "endpoint": "lexline"}
        request = ExecutionInput.model_validate(work)
        return Run(**{**dict(request), **names}, work="train", execution=execution)

    def list(self, run: Run) -> dict[str, Any]:
        """Call ListUploads."""
        return _called(list_uploads, ListUploadsInput(run=run, lease=_lease(run)))

    def items(self, listed: Mapping[str, Any]) -> list[Item]:
        """Return the items that the Map reads."""
        found = json.loads(self.s3.read(listed["items_key"]))
        assert len(found) == listed["items"]
        return [Item.model_validate(each) for each in found]

    def read(self, run: Run, item: Item) -> None:
        """Call ReadUpload for an item."""
        _called(read_upload, ReadUploadInput(run=run, lease=_lease(run), item=item))

    def assemble(self, run: Run) -> dict[str, Any]:
        """Call AssembleDataset."""
        return _called(assemble_dataset, AssembleDatasetInput(run=run, lease=_lease(run)))

    def prepare(self, run: Run | None = None, **of_new: Any) -> dict[str, Any]:
        """Call all three; the last items first, because a Map keeps no order."""
        run = run or self.new_run(**of_new)
        for item in reversed(self.items(self.list(run))):
            self.read(run, item)
        return self.assemble(run)

    def manifest(self, prepared: Mapping[str, Any]) -> dict[str, Any]:
        """Return the manifest of a prepared dataset."""
        found: dict[str, Any] = json.loads(self.s3.read(_key(prepared["manifest_uri"])))
        return found

    def splits(self, prepared: Mapping[str, Any]) -> dict[str, str]:
        """Return the text of each split, as training reads it."""
        folder = _key(prepared["prepared_uri"])
        return {
            split: b"".join(
                self.s3.read(f"{folder}{name}")[first:end]
                for name, first, end in self.manifest(prepared)["splits"][split]["ranges"]
            ).decode()
            for split in SPLITS
        }


def _called(step: Any, given: Any) -> dict[str, Any]:
    context = SimpleNamespace(
        function_name="step", memory_limit_in_mb=1000, invoked_function_arn="", aws_request_id="request"
    )
    response = step.handler(json.loads(given.model_dump_json()), context)
    assert isinstance(response, dict)
    return response


def _lease(run: Run) -> Lease:
    return Lease(owner=run.name, generation=1)


def _key(uri: str) -> str:
    return uri.removeprefix(f"s3://{BUCKET}/")


@functools.cache
def tale(lines: int = 200) -> str:
    """Return a text of nine words a line, with no two lines alike."""
    nouns = ("fox", "crow", "miller", "river", "Käse", "王様", "lantern")
    return "".join(
        f"{number} once the {nouns[number % 7]} met a {nouns[number % 5]} and said\n"
        for number in range(1, lines + 1)
    )
