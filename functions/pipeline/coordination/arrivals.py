"""Uploads of one dataset, gathered into one run.

The execution of the first upload gathers: it waits until the dataset has been quiet for a while, and every
later upload joins it. Gathering ends when its run begins, and before the run lists the dataset's objects. A
later upload therefore finds no gatherer, gathers itself, and gets another run.

Each dataset has one item in the table, under `dataset/<name>`:

    run, execution   the gatherer; absent if there is none
    quiet, first     when the dataset will have been quiet for long enough; when the first upload came
    joined           how many uploads were gathered
    handled          marks of the objects that a run has listed, or whose own run was aborted; for the sweep
    read, reader     the versions of the objects that were last read for training, and the run that read them
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from contracts.request import Upload
from contracts.run import Gathered, Run
from coordination import executions, table
from core.errors import ServiceUnavailable
from uploads.listing import UploadedObject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from coordination.table import Item

# A run begins after this many quiet periods, however often more uploads come.
_MOST_PERIODS = 20
_ATTEMPTS = 5
# Only this many objects of a dataset are marked, the newest ones: a DynamoDB item holds at most 400 KB.
_MOST_MARKS = 2000
_CLEAR = "REMOVE #run, #execution, #quiet, #first, #joined"


def gather(run: Run, quiet_seconds: float) -> Gathered:
    """Gather the dataset's uploads, or join the execution that gathers them.

    Args:
        run: a run that an upload started.
        quiet_seconds: how long the dataset has to be quiet.

    Returns:
        The seconds that the run has to wait, or the run that it joined.

    Raises:
        ServiceUnavailable: other executions changed the item during every attempt.
    """
    for _ in range(_ATTEMPTS):
        item = table.get(_key(run.dataset))
        gatherer, now = table.text(item, "run"), time.time()
        if gatherer == run.name:
            latest = table.seconds(item, "first") + _MOST_PERIODS * quiet_seconds
            return Gathered(seconds=max(0, math.ceil(min(table.seconds(item, "quiet"), latest) - now)))
        if gatherer is None or not executions.is_running(item["execution"]["S"]):
            if _become_gatherer(run, item, now + quiet_seconds):
                return Gathered(seconds=math.ceil(quiet_seconds))
        elif _join(run, gatherer, now + quiet_seconds):
            return Gathered(seconds=0, joined=gatherer)
    raise ServiceUnavailable(f"The uploads of dataset {run.dataset} changed during every attempt.")


def close(run: Run) -> None:
    """End the gathering: later uploads get another run."""
    table.write(_key(run.dataset), _CLEAR, {":me": {"S": run.name}}, condition="#run = :me")


def gatherer(dataset: str) -> str | None:
    """Return the ARN of the execution that gathers the dataset's uploads, or None."""
    return table.text(table.get(_key(dataset)), "execution")


def joined(dataset: str, execution: str) -> int:
    """Return how many uploads the execution has gathered; 0 if it is not the gatherer."""
    item = table.get(_key(dataset))
    return int(table.seconds(item, "joined")) if table.text(item, "execution") == execution else 0


def leave(dataset: str, execution: str, uploads: int, dropped: Upload | None) -> bool:
    """Clear the gatherer, whose execution has ended.

    Args:
        dataset: the dataset.
        execution: the gatherer's execution.
        uploads: how many uploads it had gathered when they were counted.
        dropped: its own upload, if a person aborted the execution and so does not want a run for it.

    Returns:
        False if more uploads have joined since they were counted.
    """
    if not uploads:
        return True
    update = _CLEAR
    values: dict[str, AttributeValueTypeDef] = {":ended": {"S": execution}, ":joined": table.number(uploads)}
    if dropped:
        update, values[":mark"] = f"ADD #handled :mark {_CLEAR}", {"SS": [_mark(dropped)]}
    condition = "#execution = :ended AND #joined = :joined"
    return table.write(_key(dataset), update, values, condition=condition) or not joined(dataset, execution)


def mark_handled(dataset: str, objects: Sequence[UploadedObject]) -> None:
    """Record the objects that a run has listed."""
    # DynamoDB refuses a set with equal members.
    marks = sorted(set(map(_mark, _newest(objects))))
    if marks:
        table.write(_key(dataset), "SET #handled = :marks", {":marks": {"SS": marks}})


def first_to_read(run: Run, versions: Sequence[str]) -> bool:
    """Record that the run reads these versions of the dataset's objects.

    Returns:
        False if another run was the last to read the same versions: an upload's event may come a second time,
        when its run has ended long ago.
    """
    item, mine = table.get(_key(run.dataset)), " ".join(versions)
    if table.text(item, "read") == mine and table.text(item, "reader") != run.name:
        return False
    values: Item = {":read": {"S": mine}, ":reader": {"S": run.name}}
    return table.write(_key(run.dataset), "SET #read = :read, #reader = :reader", values)


def is_lost(dataset: str, objects: Sequence[UploadedObject]) -> bool:
    """Return whether no run has listed one of these objects and none will, because its event never came.

    Return False while an execution gathers the dataset's uploads.
    """
    item = table.get(_key(dataset))
    if "run" in item and executions.is_running(item["execution"]["S"]):
        return False
    handled = set(item.get("handled", {}).get("SS", ()))
    return any(_mark(each) not in handled for each in _newest(objects))


def signature(objects: Sequence[UploadedObject]) -> str:
    """Return a hash of a set of objects and their contents, as 64 hexadecimal digits."""
    return hashlib.sha256(" ".join(sorted(map(_mark, objects))).encode()).hexdigest()


def _newest(objects: Sequence[UploadedObject]) -> list[UploadedObject]:
    return sorted(objects, key=lambda each: (each.modified, each.key))[-_MOST_MARKS:]


def _mark(each: UploadedObject | Upload) -> str:
    return hashlib.sha256(f"{each.etag} {each.key}".encode()).hexdigest()[:16]


def _become_gatherer(run: Run, seen: Item, quiet: float) -> bool:
    ended = table.text(seen, "execution")
    values: dict[str, AttributeValueTypeDef] = {
        ":me": {"S": run.name},
        ":execution": {"S": run.execution.id},
        ":quiet": table.number(quiet),
        ":now": table.number(time.time()),
        # The uploads of a gatherer whose execution has ended are now this one's.
        ":joined": table.number(table.seconds(seen, "joined") + 1),
    }
    return table.write(
        _key(run.dataset),
        "SET #run = :me, #execution = :execution, #quiet = :quiet, #first = :now, #joined = :joined",
        {**values, ":ended": {"S": ended}} if ended else values,
        condition="#execution = :ended" if ended else "attribute_not_exists(#run)",
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
