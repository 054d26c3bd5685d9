"""Uploads of one dataset, gathered into one run.

The first upload's execution gathers: it waits until the dataset has been quiet for a while, and every upload
that arrives meanwhile joins it. Once the gatherer's run begins it is closed, before the run looks at what is
there: so whatever comes later finds nobody to join, gathers anew, and has a run of its own afterwards.

One item of the table for each dataset, under `dataset/<name>`:

    run, execution   who gathers; absent when nobody does
    quiet, first     when it will have been quiet for long enough; when the first upload came
    joined           how many uploads were gathered
    handled          marks of the objects that a run has seen, or whose own run was aborted; for the sweep
    read, reader     the versions of the objects that were last read for training, and the run that did
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from contracts.request import Upload
from contracts.run import Run
from coordination import executions, table
from core.errors import NothingToDo, ServiceUnavailable
from uploads.listing import UploadedObject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from coordination.table import Item

# However often somebody uploads, a run begins after this many quiet periods.
_MOST_PERIODS = 20
_ATTEMPTS = 5
# As many objects of a dataset are told apart, so that one that is deleted is not taken for one that came. The
# newest decide what is trained on, and an item of the table holds 400 KB.
_MOST_MARKS = 2000
_FORGET = "REMOVE #run, #execution, #quiet, #first, #joined"


def gather(run: Run, quiet_seconds: float) -> int:
    """Seconds that `run` has yet to wait for its dataset to have been quiet; 0 when it may begin.

    Raises NothingToDo when another execution gathers: this one's upload has then joined that one's run.
    """
    for _ in range(_ATTEMPTS):
        item = table.get(_key(run.dataset))
        gatherer, now = table.text(item, "run"), time.time()
        if gatherer == run.name:
            latest = min(
                table.seconds(item, "quiet"), table.seconds(item, "first") + _MOST_PERIODS * quiet_seconds
            )
            return max(0, math.ceil(latest - now))
        if gatherer is None or not executions.is_running(item["execution"]["S"]):
            if _take(run, item, now + quiet_seconds):
                return math.ceil(quiet_seconds)
        elif _join(run, gatherer, now + quiet_seconds):
            raise NothingToDo(
                f"{run.upload.key if run.upload else run.dataset} joined run {gatherer}, which begins when "
                f"dataset {run.dataset} has been quiet for {quiet_seconds:g} s."
            )
    raise ServiceUnavailable(f"The uploads of dataset {run.dataset} changed at every look.")


def close(run: Run) -> None:
    """Gather no more: what comes from now on has a run of its own."""
    table.write(_key(run.dataset), _FORGET, {":me": {"S": run.name}}, condition="#run = :me")


def gatherer(dataset: str) -> str | None:
    """The execution that gathers the dataset's uploads, if one does."""
    return table.text(table.get(_key(dataset)), "execution")


def joined(dataset: str, execution: str) -> int:
    """How many uploads an execution gathers that has not begun its run; 0 when it is not the one."""
    item = table.get(_key(dataset))
    return int(table.seconds(item, "joined")) if table.text(item, "execution") == execution else 0


def leave(dataset: str, execution: str, uploads: int, dropped: Upload | None) -> bool:
    """Forget a gatherer whose execution has ended; False when it has gathered more than `uploads` by now.

    `dropped` is its own upload, where somebody aborted it and so does not want a run.
    """
    if not uploads:
        return True
    forget = _FORGET
    values: dict[str, AttributeValueTypeDef] = {":ended": {"S": execution}, ":joined": table.number(uploads)}
    if dropped:
        forget, values[":mark"] = f"ADD #handled :mark {forget}", {"SS": [_mark(dropped)]}
    condition = "#execution = :ended AND #joined = :joined"
    return table.write(_key(dataset), forget, values, condition=condition) or not joined(dataset, execution)


def mark_handled(dataset: str, objects: Sequence[UploadedObject]) -> None:
    """Remember which objects a run has seen."""
    # A set holds something once.
    marks = sorted(set(map(_mark, _newest(objects))))
    if marks:
        table.write(_key(dataset), "SET #handled = :marks", {":marks": {"SS": marks}})


def first_to_read(run: Run, versions: Sequence[str]) -> bool:
    """Whether no other run was the last to read these very versions of the dataset's objects.

    It is noted that this one has. An upload's event may come a second time when its run is long over.
    """
    item, mine = table.get(_key(run.dataset)), " ".join(versions)
    if table.text(item, "read") == mine and table.text(item, "reader") != run.name:
        return False
    values: Item = {":read": {"S": mine}, ":reader": {"S": run.name}}
    return table.write(_key(run.dataset), "SET #read = :read, #reader = :reader", values)


def is_lost(dataset: str, objects: Sequence[UploadedObject]) -> bool:
    """Whether no run has seen one of these objects of the dataset, and none will: its event never came.

    Not while the dataset is gathered for.
    """
    item = table.get(_key(dataset))
    if "run" in item and executions.is_running(item["execution"]["S"]):
        return False
    handled = set(item.get("handled", {}).get("SS", ()))
    return any(_mark(each) not in handled for each in _newest(objects))


def signature(objects: Sequence[UploadedObject]) -> str:
    """A short name for a set of objects and their contents."""
    return hashlib.sha256(" ".join(sorted(map(_mark, objects))).encode()).hexdigest()


def _newest(objects: Sequence[UploadedObject]) -> list[UploadedObject]:
    return sorted(objects, key=lambda each: (each.modified, each.key))[-_MOST_MARKS:]


def _mark(each: UploadedObject | Upload) -> str:
    return hashlib.sha256(f"{each.etag} {each.key}".encode()).hexdigest()[:16]


def _take(run: Run, seen: Item, quiet: float) -> bool:
    dead = table.text(seen, "execution")
    values: dict[str, AttributeValueTypeDef] = {
        ":me": {"S": run.name},
        ":execution": {"S": run.execution.id},
        ":quiet": table.number(quiet),
        ":now": table.number(time.time()),
        # What a dead gatherer had gathered is now this one's.
        ":joined": table.number(table.seconds(seen, "joined") + 1),
    }
    return table.write(
        _key(run.dataset),
        "SET #run = :me, #execution = :execution, #quiet = :quiet, #first = :now, #joined = :joined",
        {**values, ":dead": {"S": dead}} if dead else values,
        condition="#execution = :dead" if dead else "attribute_not_exists(#run)",
    )


def _join(run: Run, gatherer: str, quiet: float) -> bool:
    return table.write(
        _key(run.dataset),
        "SET #quiet = :quiet ADD #joined :one",
        {":quiet": table.number(quiet), ":one": table.number(1), ":gatherer": {"S": gatherer}},
        condition="#run = :gatherer",
    )


def _key(dataset: str | None) -> str:
    return f"dataset/{dataset}"
