"""Which of the uploaded objects a run prepares: the newest data, whichever upload started it."""

import contextlib
from typing import Any

import pytest

from coordination import arrivals
from core import errors
from tests.unit.pipeline.uploads.prepare_s3 import EXECUTION, PrepareStep, tale
from uploads import listing
from uploads.file_names import is_incidental, role_of

ONE, TWO = tale(200).encode(), tale(300).encode()
SET = {"train": tale(120).encode(), "valid": tale(30).encode(), "test": tale(40).encode()}


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> PrepareStep:
    return PrepareStep(monkeypatch)


def sources(prepared: dict[str, Any]) -> list[str]:
    return [source["uri"].removeprefix("s3://lexline-test/uploads/") for source in prepared["source"]]


def put_set(step: PrepareStep, splits: str = "train valid test") -> dict[str, dict[str, Any]]:
    return {split: step.s3.put(f"uploads/tales/{split}.txt", SET[split]) for split in splits.split()}


# --- a run started by the dataset's name


def test_by_name_the_newest_object_is_prepared(step: PrepareStep) -> None:
    for number in range(5):
        step.s3.put(f"uploads/tales/{number}.txt", ONE, seconds=-number)
    assert sources(step.run()) == ["tales/0.txt"]


def test_of_objects_of_one_second_the_last_name_wins(step: PrepareStep) -> None:
    for name in ("a", "c", "b"):
        step.s3.put(f"uploads/tales/{name}.txt", ONE, seconds=0)
    assert sources(step.run()) == ["tales/c.txt"]


def test_other_datasets_hidden_files_folders_and_readmes_do_not_count(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", ONE)
    for key in ("tales/", "tales/.DS_Store", "tales/README.md", "tales/LICENSE", "tales2/x.txt"):
        step.s3.put(f"uploads/{key}", TWO)
    assert sources(step.run()) == ["tales/tales.txt"]


@pytest.mark.parametrize(
    "name",
    [
        "two words.txt",
        "Τραγούδια, 歌.txt",
        "line\nbreak.txt",
        "/etc/passwd",
        '"}, "teardown": "always".txt',
        "x" * (1024 - len("uploads/tales/")),
    ],
)
def test_an_object_is_prepared_whatever_s3_lets_it_be_called(step: PrepareStep, name: str) -> None:
    step.s3.put(f"uploads/tales/{name}", ONE)
    assert sources(step.run()) == [f"tales/{name}"]


@pytest.mark.parametrize("others", [[], ["tales2/tales.txt"], ["tales/README.txt"]])
def test_a_dataset_without_an_object_is_not_found(step: PrepareStep, others: list[str]) -> None:
    for key in others:
        step.s3.put(f"uploads/{key}", ONE)
    with pytest.raises(errors.DatasetNotFound, match="no object under s3://lexline-test/uploads/tales/"):
        step.run()


def test_by_name_an_incomplete_set_is_an_error_that_says_what_is_missing(step: PrepareStep) -> None:
    put_set(step, "train test")
    with pytest.raises(errors.SplitIncomplete, match=r"train\.txt.*no valid beside it"):
        step.run()


def test_a_set_is_taken_whole_each_split_at_its_newest(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/val.txt", ONE)
    put_set(step)
    step.s3.put("uploads/tales/train.txt.gz", b"older", seconds=0)
    assert sources(step.run()) == ["tales/train.txt", "tales/valid.txt", "tales/test.txt"]


def test_a_corpus_newer_than_a_set_is_taken_instead(step: PrepareStep) -> None:
    put_set(step)
    step.s3.put("uploads/tales/tales.txt", ONE)
    assert sources(step.run()) == ["tales/tales.txt"]


def test_sets_of_other_folders_and_names_are_not_mixed(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/old/valid.txt", ONE)
    step.s3.put("uploads/tales/wiki.valid.txt", ONE)
    put_set(step, "train test")
    with pytest.raises(errors.SplitIncomplete, match="no valid beside"):
        step.run()


# --- a run started by an upload


@pytest.mark.parametrize("newest", ["tales/tales.txt", "tales/replaced.txt"])
def test_a_gatherers_run_prepares_the_newest_data_whichever_upload_started_it(
    step: PrepareStep, newest: str
) -> None:
    event = step.s3.put("uploads/tales/replaced.txt", TWO)
    step.s3.put("uploads/tales/older.txt", TWO)
    step.s3.put(f"uploads/{newest}", ONE)
    prepared = step.run(upload=event)
    assert sources(prepared) == [newest]
    assert b"".join(step.splits(prepared).values()) == ONE


def test_a_gatherers_upload_may_be_deleted_by_the_time_its_run_begins(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/one.txt", ONE)
    del step.s3.versions["uploads/tales/one.txt"]
    with pytest.raises(errors.DatasetNotFound, match="no object under"):
        step.run(upload=event)
    step.s3.put("uploads/tales/two.txt", TWO)
    assert sources(step.run(upload=event)) == ["tales/two.txt"]


@pytest.mark.parametrize("so_far", ["train", "test", "valid train"])
def test_an_upload_waits_for_the_rest_of_its_set(step: PrepareStep, so_far: str) -> None:
    event = list(put_set(step, so_far).values())[-1]
    answer = step.run(upload=event)
    assert (answer["outcome"], answer["dataset"]) == ("waiting", "tales")
    for split in ("train", "valid", "test"):
        assert (f"{split}.txt" in answer["reason"]) == (split in so_far)
    assert step.s3.traces() == []


@pytest.mark.parametrize("order", [["train", "valid", "test"], ["test", "train", "valid"]])
@pytest.mark.parametrize("ages", ["as they come", "all of one second", "the last began first"])
def test_of_the_three_runs_of_a_set_that_comes_slowly_the_last_prepares_it(
    step: PrepareStep, order: list[str], ages: str
) -> None:
    """Whichever completes it: S3 dates a multipart upload to its start, and to whole seconds."""
    outcomes = []
    for number, split in enumerate(order):
        seconds = {"as they come": number, "all of one second": 0, "the last began first": -number}[ages]
        event = step.s3.put(f"uploads/tales/{split}.txt", SET[split], seconds=seconds)
        outcomes.append(step.run(upload=event, name=split)["outcome"])
    assert outcomes == ["waiting", "waiting", "prepared"]


@pytest.mark.parametrize("gatherer", ["train", "valid", "test"])
def test_a_set_that_was_gathered_is_prepared_whichever_file_gathered_it(
    step: PrepareStep, gatherer: str
) -> None:
    events = put_set(step)
    prepared = step.run(upload=events[gatherer])
    assert sources(prepared) == ["tales/train.txt", "tales/valid.txt", "tales/test.txt"]


def test_an_upload_that_is_announced_again_when_its_run_is_over_is_not_run_again(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    prepared = step.run(upload=event, name="first")
    # The step itself may be tried again.
    assert step.run(upload=event, name="first") == prepared
    answer = step.run(upload=event, name="second")
    assert (answer["outcome"], answer["dataset"]) == ("seen", "tales")
    assert 'start an execution with {"dataset": "tales"}' in answer["reason"]
    # And may be run again by whoever wants it.
    assert step.run(name="person") == prepared


def test_an_upload_whose_event_comes_after_the_sweep_has_run_it_is_not_run_again(step: PrepareStep) -> None:
    events = put_set(step)
    step.run(name="sweep")
    assert step.run(upload=events["test"], name="late")["outcome"] == "seen"


@pytest.mark.parametrize("same_bytes", [True, False])
def test_what_is_uploaded_again_is_run_again(step: PrepareStep, same_bytes: bool) -> None:
    step.run(upload=step.s3.put("uploads/tales/tales.txt", ONE), name="first")
    again = step.s3.put("uploads/tales/tales.txt", ONE if same_bytes else TWO)
    assert step.run(upload=again, name="second")["outcome"] == "prepared"


@pytest.mark.parametrize("version", ["", "null"])
def test_where_the_bucket_keeps_no_versions_other_bytes_are_another_upload(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    # "null" is the version of every object while versioning is suspended.
    step = PrepareStep(monkeypatch, versioned=False)
    for name, data in (("first", ONE), ("second", TWO)):
        event = step.s3.put("uploads/tales/tales.txt", data)
        step.s3.versions["uploads/tales/tales.txt"][0].id = version
        assert step.run(upload=event, name=name)["outcome"] == "prepared"


# --- who gathers, and what was seen


def gathers(step: PrepareStep, name: str) -> None:
    step.table.put("dataset/tales", run=name, execution=EXECUTION, quiet=1, first=1, joined=2)


def test_a_run_gathers_no_more_from_the_moment_it_looks(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    gathers(step, "mine")

    def look(_: dict[str, Any]) -> None:
        assert "run" not in step.table.get("dataset/tales")

    step.s3.before["ListObjectsV2"] = look
    step.run(upload=event, name="mine")


def test_a_run_by_name_lets_those_gather_who_do(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", ONE)
    gathers(step, "another")
    step.run(name="mine")
    assert step.table.get("dataset/tales")["run"] == "another"


@pytest.mark.parametrize("files", ["tales.txt", "train.txt", "bad.png"])
def test_what_a_run_has_seen_is_never_taken_for_lost_whatever_comes_of_the_run(
    step: PrepareStep, files: str
) -> None:
    event = step.s3.put(f"uploads/tales/{files}", ONE if files != "bad.png" else b"\x89PNG\r\n\x1a\n\0")
    found = listing.objects(step.s3.client, "lexline-test", "tales")
    assert arrivals.is_lost("tales", found)
    with contextlib.suppress(errors.InvalidDataset):
        step.run(upload=event)
    assert not arrivals.is_lost("tales", found)
    step.s3.put("uploads/tales/other.txt", TWO)
    assert arrivals.is_lost("tales", listing.objects(step.s3.client, "lexline-test", "tales"))


def test_a_run_that_has_lost_the_lease_prepares_nothing(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", ONE)
    step.table.meanwhile(lambda: step.table.put("endpoint/lexline", owner="other", generation=2, until=1))
    with pytest.raises(errors.LeaseLost):
        step.run()
    assert step.s3.calls == []


# --- an object that changes while it is read


def replace_at(step: PrepareStep, call: int, data: bytes | None) -> None:
    """Before the given GetObject the object is uploaded anew, or deleted."""
    calls = iter(range(1, 1000))

    def hook(_: dict[str, Any]) -> None:
        if next(calls) == call:
            if data is None:
                del step.s3.versions["uploads/tales/tales.txt"]
            else:
                step.s3.put("uploads/tales/tales.txt", data)

    step.s3.before["GetObject"] = hook


@pytest.fixture
def many_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are read in pieces of 1,000 bytes, so that both passes take several requests."""
    monkeypatch.setattr("uploads.object_reader.FIRST_RANGE", 1000)
    monkeypatch.setattr("uploads.object_reader.LARGEST_RANGE", 1000)


READS = pytest.mark.parametrize("call", [1, 2, 10, 15])


@READS
@pytest.mark.usefixtures("many_reads")
@pytest.mark.parametrize("by_name", [True, False])
def test_an_object_replaced_while_it_is_read_is_an_error_and_the_next_attempt_reads_the_new_one(
    step: PrepareStep, call: int, by_name: bool
) -> None:
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    upload = None if by_name else event
    replace_at(step, call, TWO)
    with pytest.raises(errors.DatasetReplaced, match=r"tales\.txt was replaced while it was read"):
        step.run(upload=upload)
    assert step.s3.traces() == []
    assert b"".join(step.splits(step.run(upload=upload)).values()) == TWO


@READS
@pytest.mark.usefixtures("many_reads")
def test_an_object_deleted_while_it_is_read_is_not_found(step: PrepareStep, call: int) -> None:
    step.s3.put("uploads/tales/tales.txt", ONE)
    replace_at(step, call, None)
    with pytest.raises(errors.DatasetNotFound, match=r"tales\.txt was deleted while it was read"):
        step.run()
    assert step.s3.traces() == []


# --- names


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.txt", "train"),
        ("a/b/wiki.valid.tokens", "valid"),
        ("corpus-dev.txt.gz", "valid"),
        ("TEST", "test"),
        ("test.xz", "test"),
        ("my_test_corpus.txt", None),
        ("latest.txt", None),
        ("trains.txt", None),
        ("test.zip", None),
        ("train.tar.gz", None),
        ("train.tgz", None),
        ("validity.txt", None),
        ("train/part.txt", None),
    ],
)
def test_a_split_is_known_by_the_last_word_of_its_name(name: str, split: str | None) -> None:
    role = role_of(name)
    assert (role.split if role else None) == split


@pytest.mark.parametrize(
    ("name", "incidental"),
    [
        ("README", True),
        ("a/readme.txt", True),
        ("License-CC-BY.txt", True),
        (".git/config", True),
        ("__MACOSX/a.txt", True),
        ("a/.a.txt", True),
        ("Thumbs.db", True),
        ("noticeable.txt", False),
        ("my-readme.txt", False),
        ("a.b.txt", False),
    ],
)
def test_what_goes_along_with_a_corpus_is_known_by_its_name(name: str, incidental: bool) -> None:
    assert is_incidental(name) is incidental
