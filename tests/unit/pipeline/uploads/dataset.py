"""A dataset in a bucket in memory, for tests: upload files, prepare them by items, and see the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.dataset import ItemResult, LeftOut, Manifest, Plan, Prepared
from tests.unit.pipeline.uploads.s3_in_memory import BUCKET, S3InMemory
from uploads import items, listing, planning
from uploads.assembly import assemble
from uploads.corpus_folder import CorpusFolder
from uploads.file_names import SPLIT_NAMES

RUN = "lexline--tales-0123456789ab"


@dataclass(frozen=True)
class Corpus:
    """What was prepared: the text of each split, and the manifest."""

    prepared: Prepared
    manifest: Manifest
    train: str
    valid: str
    test: str

    @property
    def text(self) -> str:
        """All text, in the order of the manifest's ranges."""
        return self.train + self.valid + self.test

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

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


class Dataset:
    """The dataset tales."""

    def __init__(self, s3: S3InMemory, name: str = "tales") -> None:
        self.s3, self.name = s3, name

    def put(self, name: str, data: bytes | str) -> None:
        content = data.encode() if isinstance(data, str) else data
        self.s3.put(f"uploads/{self.name}/{name}", content)

    def folder(self) -> CorpusFolder:
        return CorpusFolder(self.s3.client, BUCKET, self.name, RUN)

    def plan(self) -> Plan:
        client = self.s3.client
        return planning.plan(client, BUCKET, self.name, listing.listed(client, BUCKET, self.name))

    def read(self, plan: Plan, seconds: float = 600) -> list[ItemResult]:
        """Read all items of a plan, as the Map's children do."""
        folder, results = self.folder(), []
        for item in plan.items:
            with folder.item_text(item) as text:
                result = items.read(self.s3.client, BUCKET, self.name, item, text.write, seconds)
            folder.write_result(item, result)
            results.append(result)
        return results

    def prepare(self, seconds: float = 600) -> Corpus:
        """Prepare the dataset, with every document written and read again."""
        folder = self.folder()
        folder.write_plan(self.plan())
        plan = folder.plan()
        self.read(plan, seconds)
        prepared = folder.publish(assemble(plan, folder.results(plan), RUN))
        manifest = Manifest.model_validate_json(self.s3.read(f"{folder.prefix}corpus/manifest.json"))
        texts = {}
        for split in SPLIT_NAMES:
            described = getattr(manifest.splits, split)
            pieces = [
                self.s3.read(f"{folder.prefix}corpus/{name}")[first:end]
                for name, first, end in described.ranges
            ]
            texts[split] = b"".join(pieces).decode()
            sizes = (described.bytes, described.lines, described.words)
            assert sizes == (
                sum(map(len, pieces)), texts[split].count("\n"), len(texts[split].split())
            )  # fmt: skip
        return Corpus(prepared, manifest, **texts)

    def left_out(self) -> list[LeftOut]:
        """Return what the items leave out, if nothing else is looked at."""
        return [entry for result in self.read(self.plan()) for entry in result.left_out]


def prepared(s3: S3InMemory, files: Mapping[str, bytes | str]) -> Corpus:
    """Upload files to an empty dataset, and prepare it."""
    s3.delete_all()
    dataset = Dataset(s3)
    for name, data in files.items():
        dataset.put(name, data)
    return dataset.prepare()
