"""Prepare a dataset for tests: plan, read all items and assemble, with all objects in a dictionary."""

from __future__ import annotations

import functools
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from contracts.dataset import ItemResult, Manifest, Plan
from uploads import items, planning
from uploads.assembly import assemble
from uploads.file_names import SPLIT_NAMES
from uploads.listing import UploadedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RUN = "lexline--tales-0123456789ab"
Files = Mapping[str, bytes | str]


@dataclass(frozen=True)
class Corpus:
    """What was prepared: the text of each split, and the manifest."""

    manifest: Manifest
    train: str
    valid: str
    test: str

    @property
    def splits(self) -> dict[str, str]:
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def text(self) -> str:
        """All text. If it is of one file, it is in order."""
        return self.train + self.valid + self.test

    @property
    def files(self) -> list[str]:
        return [file.name for file in self.manifest.files]

    @property
    def left_out(self) -> dict[str, str]:
        """The reason of every file that was left out."""
        return {entry.name: entry.reason for entry in self.manifest.left_out}

    @property
    def notes(self) -> dict[str, list[str]]:
        return {file.name: file.notes for file in self.manifest.files if file.notes}


class Objects:
    """The uploaded objects of the dataset tales, as the client of S3 that reads them."""

    def __init__(self, files: Files) -> None:
        self._objects = {
            f"uploads/tales/{name}": data.encode() if isinstance(data, str) else data
            for name, data in files.items()
        }
        self._etags = {key: hashlib.sha256(data).hexdigest() for key, data in self._objects.items()}

    def listed(self) -> list[UploadedObject]:
        now = datetime.now(UTC)
        return [
            UploadedObject(key, self._etags[key], len(data), now)
            for key, data in sorted(self._objects.items(), key=lambda each: each[0].encode())
        ]

    def get_object(self, **request: str) -> dict[str, Any]:
        data = self._objects[request["Key"]]
        if request["IfMatch"] != self._etags[request["Key"]]:
            response: Any = {"Error": {"Code": "PreconditionFailed"}}
            raise ClientError(response, "GetObject")
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request["Range"])
        assert match
        first, last = int(match[1]), int(match[2])
        assert first <= last < len(data)
        return {"Body": io.BytesIO(data[first : last + 1])}


@dataclass(frozen=True)
class Read:
    """The results of all items, and the objects with their text."""

    plan: Plan
    results: list[ItemResult]
    texts: dict[str, bytes]

    def corpus(self) -> Corpus:
        """Assemble, and check that the manifest describes the text."""
        manifest = assemble(self.plan, self.results, RUN)
        found = {}
        for split in SPLIT_NAMES:
            described = getattr(manifest.splits, split)
            pieces = [self.texts[name][first:end] for name, first, end in described.ranges]
            text = found[split] = b"".join(pieces).decode()
            assert (described.bytes, described.lines) == (sum(map(len, pieces)), text.count("\n"))
            assert described.words == len(text.split())
        return Corpus(manifest, **found)


def read(files: Files, seconds: float = 600) -> Read:
    """Read all items of a dataset, as the children of the Map do, each by itself."""
    objects = Objects(files)
    s3 = cast("S3Client", objects)
    plan = planning.plan(s3, "bucket", "tales", objects.listed())
    results, texts = [], {}
    for item in plan.items:
        text = bytearray()
        result = items.read(s3, "bucket", "tales", item, text.extend, seconds)
        results.append(ItemResult.model_validate_json(result.model_dump_json()))
        texts[item.object_name] = bytes(text)
    return Read(plan, results, texts)


def prepared(files: Files) -> Corpus:
    """Prepare a dataset."""
    return read(files).corpus()


def left_out(name: str, data: bytes | str) -> SimpleNamespace:
    """Return the reason and the error with which a file is left out, beside a text that is not."""
    corpus = prepared({name: data, "zzz.txt": tale()})
    (entry,) = corpus.manifest.left_out
    assert corpus.files == ["zzz.txt"]
    assert entry.name == name
    return SimpleNamespace(reason=entry.reason, error=entry.error)


@functools.cache
def tale(lines: int = 200) -> str:
    """Return a text of nine words a line, with no two lines alike."""
    nouns = ("fox", "crow", "miller", "river", "Käse", "王様", "lantern")
    return "".join(
        f"{number} once the {nouns[number % 7]} met a {nouns[number % 5]} and said\n"
        for number in range(1, lines + 1)
    )
