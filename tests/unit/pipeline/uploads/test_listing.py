"""A run prepares the newest of the uploaded objects, whichever upload started the run."""

import contextlib
import gzip
import lzma
from collections.abc import Mapping
from typing import Any

import pytest

from coordination import arrivals
from core import errors
from tests.unit.pipeline.uploads.prepare_step import EXECUTION, SPLITS, PrepareStep, tale
from tests.unit.pipeline.uploads.s3_in_memory import BUCKET, Request, Versioning
from uploads import listing, object_reader

ONE, TWO = tale(200).encode(), tale(300).encode()
SET = dict(zip(SPLITS, (tale(120).encode(), tale(30).encode(), tale(40).encode()), strict=True))

OTHERS = (
    "my_test_corpus.txt latest.txt trains.txt test.zip train.tar.gz train.tgz validity train/part.txt "
    "noticeable.txt my-readme.txt a.b.txt"
)
INCIDENTAL = "README.md a/readme.txt License-CC-BY.txt .git/config __MACOSX/a.txt a/.a.txt Thumbs.db folder/"


def sources(prepared: Mapping[str, Any]) -> list[str]:
    """Return the objects that were prepared, without the folder of the dataset tales."""
    return [source["uri"].removeprefix("s3://lexline-test/uploads/tales/") for source in prepared["source"]]


def put_set(step: PrepareStep, splits: str = "train valid test") -> dict[str, dict[str, Any]]:
    return {split: step.put(f"{split}.txt", SET[split]) for split in splits.split()}


# --- a run started by the dataset's name


@pytest.mark.parametrize(
    ("uploads", "newest"),
    [
        ({"a.txt": 3, "b.txt": 2, "c.txt": 1, "d.txt": 0}, "a.txt"),
        ({"a.txt": 0, "c.txt": 0, "b.txt": 0}, "c.txt"),  # S3 dates to the second
        ({"a.txt": 0, **dict.fromkeys(["", *INCIDENTAL.split()], 1)}, "a.txt"),
        ({"train.txt": 0, "valid.txt": 0, "test.txt": 0, "a.txt": 1}, "a.txt"),
    ],
)
def test_the_newest_object_is_prepared(step: PrepareStep, uploads: dict[str, int], newest: str) -> None:
    for name, seconds in uploads.items():
        step.put(name, ONE, seconds=seconds)
    step.s3.put("uploads/tales2/a.txt", TWO, seconds=9)
    assert sources(step.run()) == [newest]


@pytest.mark.parametrize(
    "name",
    [
        "two words.txt",
        "Τραγούδια, 歌.txt",
        "line\nbreak.txt",
        "/etc/passwd",
        '"}, "teardown": "always".txt',
        "x" * (1024 - len("uploads/tales/")),
        # These are not named as the file of one split, nor as one that comes with a corpus.
        *OTHERS.split(),
    ],
)
def test_an_object_may_have_any_name_that_s3_accepts(step: PrepareStep, name: str) -> None:
    step.put(name, ONE)
    assert sources(step.run()) == [name]


@pytest.mark.parametrize("others", [[], ["tales2/tales.txt"], ["tales/README.txt"]])
def test_a_dataset_without_an_object_is_not_found(step: PrepareStep, others: list[str]) -> None:
    for key in others:
        step.s3.put(f"uploads/{key}", ONE)
    with pytest.raises(errors.DatasetNotFound, match="no object under s3://lexline-test/uploads/tales/"):
        step.run()


@pytest.mark.parametrize("others", [[], ["old/valid.txt", "wiki.valid.txt"]])
def test_an_incomplete_set_is_an_error_that_says_what_is_missing(
    step: PrepareStep, others: list[str]
) -> None:
    for name in others:
        step.put(name, ONE)
    put_set(step, "train test")
    with pytest.raises(errors.SplitIncomplete, match=r"train\.txt.* without valid"):
        step.run()


def test_a_set_is_taken_whole_each_split_at_its_newest_and_packed_its_own_way(step: PrepareStep) -> None:
    step.put("val.txt", ONE)
    put_set(step)
    step.put("train.txt.gz", gzip.compress(SET["train"]))
    step.put("valid.txt.xz", lzma.compress(SET["valid"]))
    prepared = step.run()
    assert sources(prepared) == ["train.txt.gz", "valid.txt.xz", "test.txt"]
    assert step.splits(prepared) == SET


# --- a run started by an upload


@pytest.mark.parametrize("newest", ["tales.txt", "replaced.txt"])
def test_a_run_prepares_the_newest_data_whichever_upload_started_it(step: PrepareStep, newest: str) -> None:
    event = step.put("replaced.txt", TWO)
    step.put("older.txt", TWO)
    step.put(newest, ONE)
    prepared = step.run(upload=event)
    assert sources(prepared) == [newest]
    assert step.text(prepared) == ONE


def test_the_upload_may_be_deleted_before_its_run_begins(step: PrepareStep) -> None:
    event = step.put("one.txt", ONE)
    step.s3.delete(event["key"])
    with pytest.raises(errors.DatasetNotFound, match="no object under"):
        step.run(upload=event)
    step.put("two.txt", TWO)
    assert sources(step.run(upload=event)) == ["two.txt"]


@pytest.mark.parametrize("so_far", ["train", "test", "valid train"])
def test_an_upload_waits_for_the_rest_of_its_set(step: PrepareStep, so_far: str) -> None:
    event = list(put_set(step, so_far).values())[-1]
    response = step.run(upload=event)
    assert (response["outcome"], response["dataset"]) == ("waiting", "tales")
    for split in SPLITS:
        assert (f"{split}.txt" in response["reason"]) == (split in so_far)
    assert step.s3.traces() == []


@pytest.mark.parametrize("order", [["train", "valid", "test"], ["test", "train", "valid"]])
@pytest.mark.parametrize("ages", ["as they come", "all of one second", "the last began first"])
def test_the_last_of_the_three_runs_of_a_set_that_comes_slowly_prepares_it(
    step: PrepareStep, order: list[str], ages: str
) -> None:
    """The order of the dates does not matter: S3 dates a multipart upload to its start, in whole seconds."""
    outcomes = []
    for number, split in enumerate(order):
        seconds = {"as they come": number, "all of one second": 0, "the last began first": -number}[ages]
        event = step.put(f"{split}.txt", SET[split], seconds=seconds)
        outcomes.append(step.run(upload=event, name=split)["outcome"])
    assert outcomes == ["waiting", "waiting", "prepared"]


def test_an_upload_that_is_announced_again_is_not_run_again(step: PrepareStep) -> None:
    event = step.put("tales.txt", ONE)
    prepared = step.run(upload=event, name="first")
    # The state machine may retry the step.
    assert step.run(upload=event, name="first") == prepared
    response = step.run(upload=event, name="second")
    assert (response["outcome"], response["dataset"]) == ("seen", "tales")
    assert 'start an execution with {"dataset": "tales"}' in response["reason"]
    # A run by name prepares the dataset in any case.
    assert step.run(name="person") == prepared


@pytest.mark.parametrize("same_bytes", [True, False])
def test_a_second_upload_is_run_again(step: PrepareStep, same_bytes: bool) -> None:
    step.run(upload=step.put("tales.txt", ONE), name="first")
    again = step.put("tales.txt", ONE if same_bytes else TWO)
    assert step.run(upload=again, name="second")["outcome"] == "prepared"


@pytest.mark.parametrize("versioning", ["", "Suspended"])
def test_other_bytes_are_another_upload_where_the_bucket_keeps_no_versions(
    monkeypatch: pytest.MonkeyPatch, versioning: Versioning
) -> None:
    step = PrepareStep(monkeypatch, versioning)
    for name, data in (("first", ONE), ("second", TWO)):
        event = step.put("tales.txt", data)
        assert step.run(upload=event, name=name)["outcome"] == "prepared"


# --- the gatherer, and the objects that a run has seen


@pytest.mark.parametrize("gatherer", ["mine", "another"])
def test_a_run_stops_its_own_gathering_before_it_lists_the_uploads(step: PrepareStep, gatherer: str) -> None:
    event = step.put("tales.txt", ONE)
    step.table.put("dataset/tales", run=gatherer, execution=EXECUTION, quiet=1, first=1, joined=2)
    gatherers = []
    step.s3.on_call(
        "ListObjectsV2", 1, lambda _: gatherers.append(step.table.get("dataset/tales").get("run"))
    )
    step.run(upload=event if gatherer == "mine" else None, name="mine")
    assert gatherers == [None if gatherer == "mine" else "another"]


@pytest.mark.parametrize("name", ["tales.txt", "train.txt", "bad.png"])
def test_an_object_that_a_run_has_seen_is_never_lost_whatever_the_run_makes_of_it(
    step: PrepareStep, name: str
) -> None:
    event = step.put(name, ONE if name != "bad.png" else b"\x89PNG\r\n\x1a\n\0")
    seen = listing.objects(step.s3.client, BUCKET, "tales")
    assert arrivals.is_lost("tales", seen)
    with contextlib.suppress(errors.InvalidDataset):
        step.run(upload=event)
    assert not arrivals.is_lost("tales", seen)
    step.put("other.txt", TWO)
    assert arrivals.is_lost("tales", listing.objects(step.s3.client, BUCKET, "tales"))


# --- an object that changes while it is read


@pytest.mark.parametrize("call", [1, 2, 10, 15])
@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("becomes", ["replaced", "deleted"])
def test_an_object_that_changes_while_it_is_read_is_an_error(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch, call: int, by_name: bool, becomes: str
) -> None:
    # Both passes over the object take several requests.
    monkeypatch.setattr(object_reader, "FIRST_RANGE", 1000)
    monkeypatch.setattr(object_reader, "LARGEST_RANGE", 1000)
    event = step.put("tales.txt", ONE)
    upload = None if by_name else event

    def change(_: Request) -> None:
        if becomes == "replaced":
            step.put("tales.txt", TWO)
        else:
            step.s3.delete(event["key"])

    step.s3.on_call("GetObject", call, change)
    with pytest.raises(errors.DatasetReplaced, match=rf"tales\.txt was {becomes} while it was read"):
        step.run(upload=upload)
    assert step.s3.traces() == []
    # The next attempt reads the new object.
    step.put("tales.txt", TWO)
    assert step.text(step.run(upload=upload)) == TWO
