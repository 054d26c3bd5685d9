"""Datasets in the bucket: the uploaded files, and what a run read of them and left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from lexline.aws import history, reports, runs
from lexline.aws.reports import UNREADABLE, Stored
from lexline.aws.runs import id_in
from lexline.aws.stack import Stack
from lexline.aws.uploads import ORIGINAL_NAME, ROOT
from lexline.core.dataset_names import DatasetName
from lexline.core.errors import UsageError

_PREPARED, _MANIFEST = "prepared/", "/corpus/manifest.json"
_MOST_REPORTS = 20
"""How many reports are read to find the last run of a dataset."""


@dataclass(frozen=True)
class StoredFile:
    """An uploaded object. `name` is its key below the dataset's folder."""

    name: str
    size: int
    modified: datetime
    etag: str


@dataclass(frozen=True)
class Manifest:
    """What a run read of a dataset.

    Attributes:
        run: Name of the run.
        prepared: When the run wrote the manifest.
        words: Number of words by split.
        files: For each text its words and the notes on it. A text in an archive is named ARCHIVE/TEXT.
        left_out: For each file or text that was left out, the reason.
        sources: ETags of the objects that were read, by name.
    """

    run: str
    prepared: datetime
    words: Mapping[str, int]
    files: Mapping[str, tuple[int, list[str]]]
    left_out: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True)
class LastRun:
    """The last run of a dataset. `when` it started, or ended if its status is not Running."""

    id: str
    status: str
    when: datetime


@dataclass(frozen=True)
class Dataset:
    """A dataset: its files, and what is known of its runs."""

    name: str
    files: list[StoredFile] = field(default_factory=list)
    manifest: Manifest | None = None
    last_run: LastRun | None = None

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def unread(self) -> list[StoredFile]:
        """The files that the manifest's run has not read: they are newer, or there is no manifest."""
        manifest = self.manifest
        if manifest is None:
            return list(self.files)
        return [
            file
            for file in self.files
            if manifest.sources.get(file.name) != file.etag
            and (file.name not in manifest.left_out or file.modified > manifest.prepared)
        ]


def files_of(stack: Stack, dataset: str) -> list[StoredFile]:
    """Return the files of one dataset, by name."""
    return _listed(stack, f"{ROOT}{dataset}/").get(dataset, [])


def original_name(stack: Stack, dataset: str, files: Sequence[StoredFile]) -> str:
    """Return the name from which the name of a dataset with these files was made.

    The oldest file has it in its metadata. A dataset that another program uploaded has only its own name.
    """
    oldest = min(files, key=lambda file: (file.modified, file.name))
    try:
        head = stack.target.s3.head_object(Bucket=stack.bucket, Key=f"{ROOT}{dataset}/{oldest.name}")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise
        return dataset
    return unquote(head["Metadata"].get(ORIGINAL_NAME, "")) or dataset


def check_name(stack: Stack, wanted: DatasetName, files: Sequence[StoredFile]) -> str:
    """Return the name from which the dataset's name was or will be made.

    Args:
        stack: The stack.
        wanted: The dataset that the user means.
        files: The files that the dataset has now.

    Raises:
        UsageError: The dataset was made from another name than the one that the user means.
    """
    if not files:
        return wanted.original or wanted.name
    original = original_name(stack, wanted.name, files)
    if wanted.original is not None and original != wanted.original:
        raise UsageError(
            f'The dataset {wanted.name} exists already, and was made from the name "{original}", not from '
            f'"{wanted.original}".',
            f"To use that dataset, give --dataset {wanted.name}. Otherwise give another name with --dataset.",
        )
    return original


def read_all(stack: Stack) -> list[Dataset]:
    """Return all datasets, by name."""
    return _completed(stack, _listed(stack, ROOT), _newest_manifests(stack, _PREPARED))


def read(stack: Stack, name: str) -> Dataset | None:
    """Return one dataset, or None if it has no files."""
    files = _listed(stack, f"{ROOT}{name}/")
    return next(iter(_completed(stack, files, _newest_manifests(stack, f"{_PREPARED}{name}/"))), None)


def _completed(
    stack: Stack, files: Mapping[str, list[StoredFile]], manifests: Mapping[str, str]
) -> list[Dataset]:
    if not files:
        return []
    running = _in_progress(stack)
    written = reports.newest_first(stack)
    return [
        Dataset(
            name,
            files[name],
            _manifest(stack, manifests[name]) if name in manifests else None,
            running.get(name) or _last_run(stack, name, written),
        )
        for name in sorted(files)
    ]


def _listed(stack: Stack, prefix: str) -> dict[str, list[StoredFile]]:
    """Return the uploaded files below a prefix, by dataset."""
    found: dict[str, list[StoredFile]] = defaultdict(list)
    for item in _objects(stack, prefix):
        dataset, slash, name = item["Key"].removeprefix(ROOT).partition("/")
        # The console of S3 writes an object for a folder. Its key ends with a slash.
        if slash and not item["Key"].endswith("/"):
            found[dataset].append(
                StoredFile(name, item["Size"], item["LastModified"], item["ETag"].strip('"'))
            )
    return dict(found)


def _newest_manifests(stack: Stack, prefix: str) -> dict[str, str]:
    """Return the key of the newest manifest of each dataset."""
    newest: dict[str, Any] = {}
    for item in _objects(stack, prefix):
        if item["Key"].endswith(_MANIFEST):
            dataset = item["Key"].removeprefix(_PREPARED).partition("/")[0]
            former = newest.setdefault(dataset, item)
            if item["LastModified"] >= former["LastModified"]:
                newest[dataset] = item
    return {dataset: item["Key"] for dataset, item in newest.items()}


def _objects(stack: Stack, prefix: str) -> Iterator[Any]:
    for page in stack.target.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, Prefix=prefix):
        yield from page.get("Contents", [])


def _manifest(stack: Stack, key: str) -> Manifest | None:
    """Return a manifest, or None if it was deleted, or has another form than the pipeline's."""
    try:
        stored = stack.target.s3.get_object(Bucket=stack.bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    document = history.parsed(stored["Body"].read().decode(errors="replace"))
    try:
        folder = f"s3://{stack.bucket}/{ROOT}{document['dataset']}/"
        return Manifest(
            run=str(document["run"]),
            prepared=stored["LastModified"],
            words={name: int(split["words"]) for name, split in document["splits"].items()},
            files={
                str(file["name"]): (int(file["words"]), list(map(str, file["notes"])))
                for file in document["files"]
            },
            left_out={str(each["name"]): str(each["reason"]) for each in document["left_out"]},
            sources={str(each["uri"]).removeprefix(folder): str(each["etag"]) for each in document["source"]},
        )
    except UNREADABLE:
        return None


def _in_progress(stack: Stack) -> dict[str, LastRun]:
    """Return the newest run in progress of each dataset."""
    found: dict[str, LastRun] = {}
    for run in runs.in_progress(stack):
        if dataset := runs.dataset_in(_request(stack, run.arn)):
            found.setdefault(dataset, LastRun(run.id, "Running", run.started))
    return found


def _last_run(stack: Stack, dataset: str, written: Sequence[Stored]) -> LastRun | None:
    """Return the last run of a dataset that wrote a report, if possible one that had something to do.

    Args:
        stack: The stack.
        dataset: Name of the dataset.
        written: All reports, newest first.
    """
    beginning = runs.beginning_of_name(stack, dataset)
    candidates = [each for each in written if each.run.removesuffix(id_in(each.run)) == beginning]
    skipped = None
    # The beginning of the name is the same for datasets whose names are long and begin alike.
    for stored in candidates[:_MOST_REPORTS]:
        report = reports.document(stack, stored.run) or {}
        try:
            prepared = report.get("dataset") or {}
            name = prepared.get("dataset") or runs.dataset_in(_request(stack, report["execution"]))
            if name != dataset:
                continue
            last = LastRun(id_in(stored.run), str(report["status"]), stored.written)
        except UNREADABLE:
            continue
        if last.status != "Skipped":
            return last
        skipped = skipped or last
    return skipped


def _request(stack: Stack, execution: str) -> Any:
    """Return an execution's input, or None if Step Functions has forgotten the execution."""
    states = stack.target.stepfunctions
    try:
        return history.parsed(states.describe_execution(executionArn=execution).get("input", ""))
    except states.exceptions.ExecutionDoesNotExist:
        return None
