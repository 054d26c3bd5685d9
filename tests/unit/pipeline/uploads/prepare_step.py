"""The step Prepare for tests: run it, see what it wrote, and pack texts for it."""

from __future__ import annotations

import functools
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from contracts.dataset import PrepareInput
from contracts.request import ExecutionInput
from contracts.run import Execution, Lease, Run
from coordination import lease
from core import aws
from steps import prepare
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.uploads.s3_in_memory import BUCKET, S3InMemory

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:lexline-pipeline:one"
SPLITS = ("train", "valid", "test")


def run_prepare(
    table: TableInMemory,
    dataset: str = "tales",
    upload: Mapping[str, Any] | None = None,
    name: str = "lexline--tales--one",
    hyperparameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return Prepare's response to a run with the lease, started by the dataset's name or by an upload."""
    table.put("endpoint/lexline", owner=name, generation=1, until=time.time() + lease.SECONDS, waiting={})
    work = {"upload": upload} if upload else {"dataset": dataset}
    request = ExecutionInput.model_validate({"hyperparameters": hyperparameters or {}, **work})
    run = Run(
        **{**dict(request), "dataset": dataset},
        name=name,
        subject=name,
        work="train",
        endpoint="lexline",
        execution=Execution.model_validate({"id": EXECUTION, "started": "2026-11-23T12:00:00Z"}),
    )
    given = PrepareInput(run=run, lease=Lease(owner=name, generation=1))
    context = SimpleNamespace(
        function_name="prepare", memory_limit_in_mb=1024, invoked_function_arn="", aws_request_id="request"
    )
    return prepare.handler(json.loads(given.model_dump_json()), context)  # type: ignore[arg-type]


class PrepareStep:
    """Prepare over a bucket in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, versioned: bool = True) -> None:
        self.s3 = S3InMemory(versioned=versioned)
        self.table = TableInMemory("tokens")
        monkeypatch.setenv("BUCKET", BUCKET)
        monkeypatch.setattr(aws, "s3", lambda: self.s3.client)
        monkeypatch.setattr(aws, "dynamodb", lambda: self.table.client)

    def put(self, name: str, data: bytes, *, seconds: int | None = None) -> dict[str, Any]:
        """Upload an object of the dataset tales."""
        return self.s3.put(f"uploads/tales/{name}", data, seconds=seconds)

    def run(
        self,
        dataset: str = "tales",
        *,
        upload: Mapping[str, Any] | None = None,
        name: str = "lexline--tales--one",
        **hyperparameters: object,
    ) -> dict[str, Any]:
        return run_prepare(self.table, dataset, upload, name, hyperparameters)

    def splits(self, prepared: Mapping[str, Any]) -> dict[str, bytes]:
        return {split: self.s3.read(_key(prepared, split)) for split in SPLITS}

    def text(self, prepared: Mapping[str, Any]) -> bytes:
        return b"".join(self.splits(prepared).values())

    def manifest(self, prepared: Mapping[str, Any]) -> dict[str, Any]:
        manifest = json.loads(self.s3.read(_key(prepared, "manifest.json")))
        assert isinstance(manifest, dict)
        return manifest


def _key(prepared: Mapping[str, Any], name: str) -> str:
    return f"{prepared['prepared_uri']}{name}".removeprefix(f"s3://{BUCKET}/")


@functools.cache
def tale(lines: int = 200) -> str:
    """Return a text of nine words a line, with no two lines alike."""
    nouns = ("fox", "crow", "miller", "river", "Käse", "王様", "lantern")
    return "".join(
        f"{number} once the {nouns[number % 7]} met a {nouns[number % 5]} and said\n"
        for number in range(1, lines + 1)
    )


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


TarMode = Literal["w", "w:gz", "w:bz2", "w:xz"]


def tarred(
    files: Mapping[str, bytes], mode: TarMode = "w", tar_format: int = tarfile.PAX_FORMAT, **fields: object
) -> bytes:
    """Return a tar in which every member has the TarInfo `fields`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=tar_format) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
