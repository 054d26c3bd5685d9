"""Which of the uploaded objects a run prepares, and when it leaves them to another run."""

from datetime import UTC, datetime, timedelta
from typing import Any

import errors
import prepare
import pytest
from file_names import is_incidental, role_of

from tests.unit.pipeline.prepare_s3 import PrepareStep, tale

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


def test_an_upload_is_prepared(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/older.txt", TWO)
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    assert sources(step.run(upload=event)) == ["tales/tales.txt"]


def refused(step: PrepareStep, upload: dict[str, Any], outcome: str, name: str = "run") -> str:
    """The reason of a run that ends without an error and without having written anything."""
    traces = step.s3.traces()
    answer = step.run(upload=upload, name=name)
    assert answer["outcome"] == outcome
    assert answer["dataset"] == "tales"
    assert step.s3.traces() == traces
    return str(answer["reason"])


def test_an_upload_gives_way_to_a_newer_one(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/one.txt", ONE)
    step.s3.put("uploads/tales/two.txt", TWO)
    assert "uploads/tales/two.txt was uploaded after" in refused(step, event, "superseded")


def test_an_upload_gives_way_to_its_replacement(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    step.s3.put("uploads/tales/tales.txt", TWO)
    assert "was uploaded again since" in refused(step, event, "superseded")


def test_an_upload_gives_way_to_a_replacement_by_the_same_bytes(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    again = step.s3.put("uploads/tales/tales.txt", ONE)
    assert "was uploaded again since" in refused(step, event, "superseded")
    assert step.run(upload=again)["outcome"] == "prepared"


def test_an_upload_that_was_deleted_gives_way_or_is_not_found(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    del step.s3.versions["uploads/tales/tales.txt"]
    with pytest.raises(errors.DatasetNotFound, match=r"tales\.txt was deleted after its upload"):
        step.run(upload=event)
    step.s3.put("uploads/tales/two.txt", TWO)
    assert "was deleted" in refused(step, event, "superseded")


@pytest.mark.parametrize("name", ["README.md", ".DS_Store", "LICENSE"])
def test_the_upload_of_a_file_that_is_no_corpus_is_ignored(step: PrepareStep, name: str) -> None:
    step.s3.put("uploads/tales/tales.txt", ONE)
    event = step.s3.put(f"uploads/tales/{name}", ONE)
    assert name in refused(step, event, "ignored")


@pytest.mark.parametrize("so_far", ["train", "test", "valid train"])
def test_an_upload_waits_for_the_rest_of_its_set(step: PrepareStep, so_far: str) -> None:
    event = list(put_set(step, so_far).values())[-1]
    reason = refused(step, event, "waiting")
    for split in ("train", "valid", "test"):
        assert (f"{split}.txt" in reason) == (split in so_far)


@pytest.mark.parametrize("order", [["train", "valid", "test"], ["test", "train", "valid"]])
@pytest.mark.parametrize("ages", ["as they come", "all of one second", "the last began first"])
def test_of_the_three_runs_of_a_set_exactly_one_prepares_it(
    step: PrepareStep, order: list[str], ages: str
) -> None:
    """Whichever completes it: S3 dates a multipart upload to its start, and to whole seconds."""
    outcomes = []
    for number, split in enumerate(order):
        seconds = {"as they come": number, "all of one second": 0, "the last began first": -number}[ages]
        event = step.s3.put(f"uploads/tales/{split}.txt", SET[split], seconds=seconds)
        outcomes.append(step.run(upload=event, name=split)["outcome"])
    assert outcomes == ["waiting", "waiting", "prepared"]


def test_of_three_runs_that_all_see_the_set_complete_one_goes_on(step: PrepareStep) -> None:
    events = put_set(step)
    answers = {split: step.run(upload=event, name=split) for split, event in events.items()}
    assert [answer["outcome"] for answer in answers.values()] == ["prepared", "superseded", "superseded"]
    assert "The run train has prepared these uploads" in answers["test"]["reason"]
    # The run that goes on may be tried again, and a person may start another by name.
    assert step.run(upload=events["train"], name="train") == answers["train"]
    assert step.run(name="person")["outcome"] == "prepared"


def test_of_two_runs_that_write_a_set_at_once_one_goes_on(step: PrepareStep) -> None:
    events = put_set(step)
    other: list[dict[str, Any]] = []

    def valid_is_faster(_: dict[str, Any]) -> None:
        del step.s3.before["PutObject"]
        other.append(step.run(upload=events["valid"], name="valid"))

    step.s3.before["PutObject"] = valid_is_faster
    assert step.run(upload=events["test"], name="test")["outcome"] == "superseded"
    assert other[0]["outcome"] == "prepared"


def test_a_set_uploaded_again_unchanged_is_prepared_once_more_by_its_newest_upload(step: PrepareStep) -> None:
    step.run(upload=put_set(step)["test"], name="first")
    events = put_set(step)
    outcomes = [step.run(upload=event, name=f"again-{split}")["outcome"] for split, event in events.items()]
    assert outcomes == ["superseded", "superseded", "prepared"]


def test_the_same_event_much_later_is_a_wish_to_run_again(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = put_set(step)["test"]
    step.run(upload=event, name="first")
    later = datetime.now(UTC) + timedelta(hours=1)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return later

    monkeypatch.setattr(prepare, "datetime", Clock)
    assert step.run(upload=event, name="later")["outcome"] == "prepared"


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
    monkeypatch.setattr("object_reader.FIRST_BLOCK", 1000)
    monkeypatch.setattr("object_reader.BLOCK", 1000)


READS = pytest.mark.parametrize("call", [1, 2, 10, 15])


@READS
@pytest.mark.usefixtures("many_reads")
def test_an_upload_replaced_while_it_is_read_gives_way(step: PrepareStep, call: int) -> None:
    event = step.s3.put("uploads/tales/tales.txt", ONE)
    replace_at(step, call, TWO)
    assert "was replaced while it was read" in refused(step, event, "superseded")


@READS
@pytest.mark.usefixtures("many_reads")
def test_by_name_a_replaced_object_is_an_error_and_the_next_attempt_reads_the_new_one(
    step: PrepareStep, call: int
) -> None:
    step.s3.put("uploads/tales/tales.txt", ONE)
    replace_at(step, call, TWO)
    with pytest.raises(errors.DatasetReplaced, match=r"tales\.txt was replaced while it was read"):
        step.run()
    assert step.s3.traces() == []
    assert b"".join(step.splits(step.run()).values()) == TWO


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
