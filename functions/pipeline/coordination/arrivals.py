"""Uploads of one dataset, gathered into one run.

The execution of the first upload gathers: it waits until the dataset has been quiet for a while, and every
later upload joins it. Gathering ends when its run begins, and before the run lists the dataset's objects. A
later upload therefore finds no gatherer, gathers itself, and gets another run.

Each dataset has one item in the table, under `dataset/<name>`:

    run, execution   the gatherer; absent if there is none
    quiet, first     when the dataset will have been quiet for long enough; when the first upload came
    joined           how many uploads were gathered
    handled          marks of the objects that a run has listed, or whose own run was aborted; for the sweep
    read, reader     a hash of the listing that was last read for training, and the run that read it
"""

import hashlib
import heapq
import math
import time
from collections.abc import Sequence

from contracts.request import Upload
from contracts.run import Gathered, Run
from coordination import executions, table
from coordination.table import Item
from core import environment
from core.errors import ServiceUnavailable
from uploads.file_names import is_incidental
from uploads.listing import UploadedObject

# A run begins after this many quiet periods, however often more uploads come.
_MOST_PERIODS = 20
_ATTEMPTS = 5
# Only this many objects of a dataset are marked, the newest ones: a DynamoDB item holds at most 400 KB.
_MOST_MARKS = 2000
_CLEAR = "REMOVE #run, #execution, #quiet, #first, #joined"


def gather(run: Run) -> Gathered:
    """Gather the dataset's uploads, or join the execution that gathers them.

    Args:
        run: a run that an upload started.

    Returns:
        The seconds that the run has to wait, or the run that it joined.

    Raises:
        ServiceUnavailable: other executions changed the item during every attempt.
    """
    quiet_seconds = environment.quiet_seconds()
    for _ in range(_ATTEMPTS):
        item = table.get(_key(run.dataset))
        gatherer, now = item.get("run"), time.time()
        if gatherer == run.name:
            latest = item.get("first", 0) + _MOST_PERIODS * quiet_seconds
            return Gathered(seconds=max(0, math.ceil(min(item.get("quiet", 0), latest) - now)))
        if gatherer is None or not executions.is_running(item["execution"]):
            if _become_gatherer(run, item, now + quiet_seconds):
                execution = executions.describe(run.execution.id)
                if execution and execution["status"] == "ABORTED":
                    # It was aborted while this function ran, and its end may have been handled already.
                    leave(str(run.dataset), run.execution.id, 1, run.upload)
                return Gathered(seconds=math.ceil(quiet_seconds))
        elif _join(run, gatherer, now + quiet_seconds):
            return Gathered(seconds=0, joined=gatherer)
    raise ServiceUnavailable(f"The uploads of dataset {run.dataset} changed during every attempt.")


def close(run: Run) -> None:
    """End the gathering: later uploads get another run."""
    table.write(_key(run.dataset), _CLEAR, {":me": run.name}, condition="#run = :me")


def gatherer(dataset: str) -> str | None:
    """Return the ARN of the execution that gathers the dataset's uploads, or None."""
    return table.get(_key(dataset)).get("execution")


def joined(dataset: str, execution: str) -> int:
    """Return how many uploads the execution has gathered; 0 if it is not the gatherer."""
    item = table.get(_key(dataset))
    return int(item.get("joined", 0)) if item.get("execution") == execution else 0


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
    cleared = table.write(
        _key(dataset),
        f"ADD #handled :mark {_CLEAR}" if dropped else _CLEAR,
        {":ended": execution, ":joined": uploads, ":mark": {_mark(dropped)} if dropped else None},
        condition="#execution = :ended AND #joined = :joined",
    )
    return cleared or not joined(dataset, execution)


def mark_handled(dataset: str, objects: Sequence[UploadedObject]) -> None:
    """Record the objects that a run has listed."""
    if marks := set(map(_mark, _newest(objects))):
        table.write(_key(dataset), "SET #handled = :marks", {":marks": marks})


def first_to_read(run: Run, objects: Sequence[UploadedObject]) -> bool:
    """Record that the run reads these objects.

    Returns:
        False if another run was the last to read the same uploads: an upload's event may come a second time,
        when its run has ended long ago.
    """
    item, listing = table.get(_key(run.dataset)), hashlib.sha256()
    # With the time, so that the same text uploaded again counts as another upload.
    for each in objects:
        listing.update(f"{each.modified.isoformat()} {each.etag} {each.key}\n".encode())
    mine = listing.hexdigest()
    if item.get("read") == mine and item.get("reader") != run.name:
        return False
    values = {":read": mine, ":reader": run.name}
    return table.write(_key(run.dataset), "SET #read = :read, #reader = :reader", values)


def is_lost(dataset: str, objects: Sequence[UploadedObject]) -> bool:
    """Return whether no run has listed one of these objects and none will, because its event never came.

    Return False while an execution gathers the dataset's uploads.
    """
    item = table.get(_key(dataset))
    if "run" in item and executions.is_running(item["execution"]):
        return False
    handled = item.get("handled", ())
    return any(_mark(each) not in handled for each in _newest(objects))


def signature(objects: Sequence[UploadedObject]) -> str:
    """Return a hash of a set of objects and their contents, as 64 hexadecimal digits."""
    return hashlib.sha256(" ".join(sorted(map(_mark, objects))).encode()).hexdigest()


def _newest(objects: Sequence[UploadedObject]) -> list[UploadedObject]:
    """Return the newest objects whose upload starts a run; Plan ignores the others."""
    starts_run = (
        each
        for each in objects
        if not each.key.endswith("/") and not is_incidental(each.key.split("/", 2)[-1])
    )
    return heapq.nlargest(_MOST_MARKS, starts_run, key=lambda each: (each.modified, each.key))


def _mark(each: UploadedObject | Upload) -> str:
    return hashlib.sha256(f"{each.etag} {each.key}".encode()).hexdigest()[:16]


def _become_gatherer(run: Run, seen: Item, quiet: float) -> bool:
    return table.write(
        _key(run.dataset),
        "SET #run = :me, #execution = :execution, #quiet = :quiet, #first = :now, #joined = :joined",
        {
            ":me": run.name,
            ":execution": run.execution.id,
            ":quiet": quiet,
            ":now": time.time(),
            # The uploads of a gatherer whose execution has ended are now this one's.
            ":joined": seen.get("joined", 0) + 1,
            ":ended": seen.get("execution"),
        },
        condition="#execution = :ended" if "execution" in seen else "attribute_not_exists(#run)",
    )


def _join(run: Run, gatherer: str, quiet: float) -> bool:
    return table.write(
        _key(run.dataset),
        "SET #quiet = :quiet ADD #joined :one",
        {":quiet": quiet, ":one": 1, ":gatherer": gatherer},
        condition="#run = :gatherer",
    )


def _key(dataset: str | None) -> str:
    return f"dataset/{dataset}"
