"""Executions of the pipeline: starting them, by upload or by name, and finding them again."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lexline import execution_input, history
from lexline.errors import UsageError, UserError
from lexline.run_ids import id_in, run_id
from lexline.target import Stack, Target

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RECENT = 20
"""How many of the newest executions are asked what started them."""
_LISTED = 1000
"""How many of the newest executions are looked through by name: as many as ListExecutions gives at once."""


@dataclass(frozen=True)
class Run:
    """One execution. `id` is short enough to type and ends the name of the run's training job and model."""

    arn: str
    status: str
    started: datetime
    stopped: datetime | None

    @property
    def id(self) -> str:
        return run_id(self.arn)

    @property
    def name(self) -> str:
        return self.arn.rsplit(":", 1)[1]


@dataclass(frozen=True)
class Uploaded:
    """An object as S3 holds it after an upload."""

    key: str
    etag: str
    version_id: str


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files to upload for one dataset: one corpus, or the three of a split, one by one or as a folder.

    Raises UsageError naming what is missing or too much.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file {path}.")
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        if len(files) != 3:
            raise UsageError(
                f"The folder {folder} holds {len(files)} files; a corpus that is already split has three.",
                "Name them train.txt, valid.txt and test.txt, or give one file to have it split.",
            )
        return files
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path} is not a file.")
        if path.stat().st_size == 0:
            raise UsageError(f"{path} is empty.")
    if len(paths) not in (1, 3):
        raise UsageError(
            f"A dataset is one file, or three that are already split; these are {len(paths)}.",
            "Put several texts into one archive (.zip or .tar.gz) or join them with cat.",
        )
    return list(paths)


def dataset_name(name: str | None, paths: Sequence[Path]) -> str:
    """The dataset's name: the one given, else made from the file's or folder's.

    Raises UsageError when it is not one.
    """
    if name is None:
        name = re.sub(r"[^A-Za-z0-9-]+", "-", paths[0].name.split(".")[0]).strip("-").lower()
    if not _DATASET.fullmatch(name):
        raise UsageError(
            f'"{name}" cannot name a dataset.',
            "Give --dataset with letters, digits, dots, underscores and hyphens, 63 at most.",
        )
    return name


def upload(target: Target, stack: Stack, dataset: str, path: Path, sent: Callable[[int], None]) -> Uploaded:
    """Puts one file under uploads/<dataset>/.

    `sent` is called with the bytes of every part that is through.
    """
    key = f"uploads/{dataset}/{path.name}"
    target.s3.upload_file(str(path), stack.bucket, key, Callback=sent)
    there = target.s3.head_object(Bucket=stack.bucket, Key=key)
    return Uploaded(key, there["ETag"].strip('"'), there.get("VersionId", ""))


def start(target: Target, stack: Stack, about: str, request: Mapping[str, Any]) -> Run:
    """Starts an execution by request; its name begins with what it is `about`."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", about).strip("-")[:40]
    name = f"{slug}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    started = target.stepfunctions.start_execution(
        stateMachineArn=stack.state_machine_arn, name=name, input=json.dumps(request)
    )
    return Run(started["executionArn"], "RUNNING", started["startDate"], None)


def recent(target: Target, stack: Stack, count: int = _RECENT) -> list[Run]:
    """The newest executions, newest first."""
    listed = target.stepfunctions.list_executions(stateMachineArn=stack.state_machine_arn, maxResults=count)
    return [
        Run(item["executionArn"], item["status"], item["startDate"], item.get("stopDate"))
        for item in listed["executions"]
    ]


def find(target: Target, stack: Stack, wanted: str | None) -> Run:
    """The run with this id, execution name or training job name; the newest one for None.

    An upload that joined another's run has that one. Raises UserError when there is none among the recent
    ones.
    """
    runs = recent(target, stack, _LISTED)
    if not runs:
        raise UserError("Nothing has run yet.", "Start with `lexline run FILE`.")
    if wanted is None:
        newest = runs[0]
        return _run_of(history.joined(history.events_of(target.stepfunctions, newest.arn)), runs) or newest
    for run in runs:
        if wanted in (run.id, run.name, run.arn) or wanted.endswith(f"-{run.id}"):
            return run
    raise UsageError(f"No recent run is called {wanted}.", "`lexline status` lists them.")


def started_by(
    target: Target,
    stack: Stack,
    uploaded: Uploaded,
    *,
    patience: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Run:
    """The run that takes an upload along: of the execution that it started, or of the one that gathers.

    S3 and EventBridge take a second or two to start an execution. If another gathers the dataset's uploads
    already, this one's joins that one's run. Raises UserError when none has appeared after `patience`
    seconds.
    """
    seen: set[str] = set()
    deadline = time.monotonic() + patience
    while True:
        # Oldest first: should the event have come twice, the first execution is the one that does the work.
        for run in reversed(recent(target, stack)):
            if run.arn in seen:
                continue
            seen.add(run.arn)
            if _is_from(target, run, uploaded):
                return _gatherer(target, stack, run, sleep)
        if time.monotonic() > deadline:
            raise UserError(
                f"{uploaded.key} is uploaded, but no run has started from it.",
                "S3 can take five minutes until a new bucket announces uploads. Start the run by hand: "
                f"`lexline run --dataset {uploaded.key.split('/')[1]}`.",
            )
        sleep(_pause(target))


def _pause(target: Target) -> float:
    """Seconds between two looks at executions."""
    return 0.5 if target.local else 2


def _gatherer(target: Target, stack: Stack, run: Run, sleep: Callable[[float], None]) -> Run:
    """The run that the execution of an upload joined, or itself."""
    while True:
        joined = history.joined(history.events_of(target.stepfunctions, run.arn))
        if joined is not None:
            break
        sleep(_pause(target))
    if not joined:
        return run
    return _run_of(joined, recent(target, stack, _LISTED)) or run


def _run_of(name: str | None, runs: Sequence[Run]) -> Run | None:
    """The run of this name, if it is one of these."""
    return next((run for run in runs if name and run.id == id_in(name)), None)


def _is_from(target: Target, run: Run, uploaded: Uploaded) -> bool:
    described = target.stepfunctions.describe_execution(executionArn=run.arn)
    event = execution_input.upload_of(json.loads(described.get("input", "{}")))
    return (
        event.get("key") == uploaded.key
        and event.get("etag", "").strip('"') == uploaded.etag
        and event.get("version_id", uploaded.version_id) in (uploaded.version_id, "")
    )
