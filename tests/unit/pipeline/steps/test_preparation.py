"""list_uploads, read_upload, assemble_dataset: from uploads to a corpus, or an error by name."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from cleanup import prepared_text
from core import aws, errors
from core.errors import DatasetReplaced, LeaseLost, NothingToDo
from tests.unit.pipeline.steps.preparing import SPLITS, Preparation, tale
from tests.unit.pipeline.uploads.s3_in_memory import BUCKET
from uploads import corpus_folder

TALE = tale()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Preparation:
    return Preparation(monkeypatch)


# --- every text of the folder


def test_every_text_is_in_exactly_one_split(steps: Preparation) -> None:
    texts = {"b/second.txt": tale(120), "a.txt": tale(40), "c.txt": tale(60).replace("once", "twice")}
    for name, text in texts.items():
        steps.put(name, text)
    prepared = steps.prepare()
    splits = steps.splits(prepared)
    assert sorted("".join(splits.values()).split("\n")) == sorted("".join(texts.values()).split("\n"))
    manifest = steps.manifest(prepared)
    assert [file["name"] for file in manifest["files"]] == ["a.txt", "b/second.txt", "c.txt"]
    assert prepared["files"] == 3
    for split in SPLITS:
        size = prepared["splits"][split]
        assert (size["bytes"], size["lines"]) == (len(splits[split].encode()), splits[split].count("\n"))


def test_five_hundred_uploads_are_one_corpus(steps: Preparation) -> None:
    steps.s3.page = 1000
    for number in range(500):
        steps.put(f"{number:03d}.txt", f"Poem {number} has one line.\nAnd it has another.\n")
    run = steps.new_run()
    listed = steps.list(run)
    assert listed["items"] == 3, "small files are read in groups"
    for item in steps.items(listed):
        steps.read(run, item)
    prepared = steps.assemble(run)
    assert (prepared["files"], prepared["left_out_count"]) == (500, 0)
    text = "".join(steps.splits(prepared).values())
    assert all(f"Poem {number} has one line.\n" in text for number in range(500))


def test_adding_a_file_moves_no_line(steps: Preparation) -> None:
    steps.put("a.txt", TALE)
    before = steps.splits(steps.prepare(name="lexline--tales-one"))
    steps.put("0.txt", tale(30).replace("once", "twice"))
    after = steps.splits(steps.prepare(name="lexline--tales-two"))
    for split in SPLITS:
        assert before[split] in after[split]


def test_a_run_has_a_folder_of_its_own_and_equal_text_has_one_fingerprint(steps: Preparation) -> None:
    steps.put("a.txt", TALE)
    one, two = (steps.prepare(name=f"lexline--tales-{number}") for number in ("one", "two"))
    assert one["prepared_uri"] == f"s3://{BUCKET}/prepared/tales/lexline--tales-one/corpus/"
    assert two["manifest_uri"] == f"s3://{BUCKET}/prepared/tales/lexline--tales-two/corpus/manifest.json"
    assert one["fingerprint"] == two["fingerprint"]


@pytest.mark.parametrize("name", ["a b+c %41&=?#.txt", "ποίημα/été.txt", '\'"quoted".txt', "e" * 900])
def test_a_key_may_have_any_characters(steps: Preparation, name: str) -> None:
    steps.put(name, TALE)
    prepared = steps.prepare()
    assert "".join(steps.splits(prepared).values()) == TALE
    manifest = steps.manifest(prepared)
    assert manifest["files"][0]["name"] == name
    assert manifest["source"][0]["uri"] == f"s3://{BUCKET}/uploads/tales/{name}"


def test_what_is_left_out_is_said(steps: Preparation) -> None:
    steps.put("a.txt", TALE)
    for number in range(25):
        steps.put(f"{number}.pdf", b"%PDF-1.7")
    steps.put("README.md", "A corpus.")
    steps.put("folder/", "")
    prepared = steps.prepare()
    assert (len(prepared["left_out"]), prepared["left_out_count"]) == (20, 26)
    assert len(steps.manifest(prepared)["left_out"]) == 26
    assert all(each["reason"].endswith(".") for each in prepared["left_out"])


# --- nothing to prepare


@pytest.mark.parametrize("others", [[], ["uploads/tale/a.txt", "uploads/tales-two/a.txt", "prepared/a.txt"]])
def test_a_dataset_without_an_object_is_not_found(steps: Preparation, others: list[str]) -> None:
    for key in others:
        steps.s3.put(key, TALE.encode())
    with pytest.raises(errors.DatasetNotFound, match=f"s3://{BUCKET}/uploads/tales/"):
        steps.prepare()


def test_a_dataset_of_which_all_is_left_out_fails_by_name(steps: Preparation) -> None:
    steps.put("a.pdf", b"%PDF-1.7")
    with pytest.raises(errors.DatasetNotText, match=r"a\.pdf"):
        steps.prepare()


def test_an_upload_waits_for_the_rest_of_its_set_and_leaves_nothing(steps: Preparation) -> None:
    steps.put("corpus.train.txt", TALE)
    upload = steps.put("corpus.valid.txt", TALE)
    waiting = steps.prepare(upload=upload)
    assert (waiting["outcome"], waiting["dataset"]) == ("waiting", "tales")
    assert "without test" in waiting["reason"]
    assert steps.s3.traces() == []
    steps.put("corpus.test.txt", tale(30))
    assert steps.prepare(name="lexline--tales-two", upload=upload)["outcome"] == "prepared"


def test_a_run_that_was_started_by_name_fails_on_an_incomplete_set(steps: Preparation) -> None:
    steps.put("corpus.train.txt", TALE)
    steps.put("corpus.valid.txt", TALE)
    with pytest.raises(errors.SplitIncomplete, match="test"):
        steps.prepare()


# --- uploads and their runs


def test_an_upload_that_is_announced_again_is_not_run_again(steps: Preparation) -> None:
    upload = steps.put("a.txt", TALE)
    first = steps.new_run("lexline--tales-one", upload=upload)
    steps.list(first)
    steps.list(first)  # A retry is the same run.
    with pytest.raises(NothingToDo, match=r'already read these uploads .*"dataset": "tales"'):
        steps.list(steps.new_run("lexline--tales-two", upload=upload))
    # A person may run it again, and the same text may be uploaded again.
    steps.list(steps.new_run("lexline--tales-three"))
    steps.list(steps.new_run("lexline--tales-four", upload=steps.put("a.txt", TALE)))


def test_a_run_ends_its_gathering_and_marks_what_it_has_listed(steps: Preparation) -> None:
    steps.put("a.txt", TALE)
    run = steps.new_run()
    steps.table.put("dataset/tales", run=run.name, execution=run.execution.id, quiet=1, first=1, joined=1)
    steps.list(run)
    item = steps.table.get("dataset/tales")
    assert "run" not in item
    assert len(item["handled"]) == 1


def test_a_run_without_its_lease_prepares_nothing(steps: Preparation) -> None:
    steps.put("a.txt", TALE)
    run = steps.new_run()
    items = steps.items(steps.list(run))
    steps.new_run("lexline--tales-two")
    for call in (lambda: steps.list(run), lambda: steps.read(run, items[0]), lambda: steps.assemble(run)):
        with pytest.raises(LeaseLost):
            call()


def test_every_item_renews_the_lease(steps: Preparation) -> None:
    """A terabyte takes hours, and the lease lasts for two."""
    steps.put("a.txt", TALE)
    run = steps.new_run()
    (item,) = steps.items(steps.list(run))
    held = steps.table.get("endpoint/lexline")
    steps.table.put("endpoint/lexline", **{**held, "until": 1})
    steps.read(run, item)
    assert steps.table.get("endpoint/lexline")["until"] > held["until"] - 60


# --- an item


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_object_that_changed_since_it_was_listed_is_an_error(steps: Preparation, change: str) -> None:
    steps.put("a.txt", TALE)
    steps.put("b.txt", TALE)
    run = steps.new_run()
    (item,) = steps.items(steps.list(run))
    if change == "replaced":
        steps.put("b.txt", tale(50))
    else:
        steps.s3.delete("uploads/tales/b.txt")
    with pytest.raises(DatasetReplaced, match=rf"uploads/tales/b\.txt was {change} while it was read"):
        steps.read(run, item)
    assert steps.s3.under("prepared/tales/lexline--tales-one/corpus/") == []
    # The state machine lists the uploads again.
    assert steps.prepare(run)["outcome"] == "prepared"


def test_an_item_may_be_read_again(steps: Preparation) -> None:
    """A function that was killed is retried, even if it had written all."""
    steps.put("a.txt", TALE)
    run = steps.new_run()
    (item,) = steps.items(steps.list(run))
    steps.read(run, item)
    steps.read(run, item)
    assert "".join(steps.splits(steps.assemble(run)).values()) == TALE


@pytest.mark.parametrize("parts", ["one", "several"])
def test_an_item_of_an_ended_execution_is_not_written(
    steps: Preparation, monkeypatch: pytest.MonkeyPatch, parts: str
) -> None:
    """The function of an aborted execution goes on, and the cleanup may be over before its end."""
    if parts == "several":
        monkeypatch.setattr(corpus_folder, "PART_BYTES", 5 * 1024**2)
        steps.put("a.txt", TALE * 1000)
    else:
        steps.put("a.txt", TALE)
    run = steps.new_run()
    (item,) = steps.items(steps.list(run))
    steps.machine.end(run.execution.id, "ABORTED")
    with pytest.raises(NothingToDo, match="has ended"):
        steps.read(run, item)
    assert steps.s3.uploads() == []
    assert steps.s3.under("prepared/tales/lexline--tales-one/corpus/") == []


def test_an_item_of_the_plan_without_a_result_is_an_error(steps: Preparation) -> None:
    steps.put("a.txt", TALE)
    run = steps.new_run()
    steps.list(run)
    with pytest.raises(errors.ServiceUnavailable, match=r"items/00000\.json"):
        steps.assemble(run)


def test_a_denied_object_is_no_missing_object(steps: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    steps.put("a.txt", TALE)
    run = steps.new_run()
    steps.list(run)
    message = (
        "User: arn:aws:sts::1:role is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::a"
    )
    denial: Any = {"Error": {"Code": "AccessDenied", "Message": message}}

    def deny(**_: object) -> None:
        raise ClientError(denial, "GetObject")

    monkeypatch.setattr(steps.s3.client, "get_object", deny)
    with pytest.raises(errors.AccessDenied, match="s3:GetObject"):
        steps.assemble(run)


# --- what a failed run leaves


def test_half_made_text_is_deleted_with_all_its_versions(steps: Preparation) -> None:
    steps.put("a.txt", TALE)
    run = steps.new_run()
    for _ in range(2):
        for item in steps.items(steps.list(run)):
            steps.read(run, item)
    other = steps.new_run("lexline--tales-one-more")
    steps.list(other)
    assert prepared_text.delete_half_made("tales", run.name) == ["prepared/tales/lexline--tales-one"]
    assert {key.split("/")[2] for key in steps.s3.traces()} == {other.name}
    assert steps.s3.under("uploads/") == ["uploads/tales/a.txt"]
    assert prepared_text.delete_half_made("tales", run.name) == []


def test_a_complete_corpus_stays(steps: Preparation) -> None:
    """Its training failed, and the next run may be compared with it."""
    steps.put("a.txt", TALE)
    prepared = steps.prepare()
    traces = steps.s3.traces()
    assert prepared_text.delete_half_made("tales", "lexline--tales-one") == []
    assert steps.s3.traces() == traces
    assert steps.manifest(prepared)["run"] == "lexline--tales-one"


def test_a_refused_deletion_is_an_error(steps: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    steps.put("a.txt", TALE)
    run = steps.new_run()
    steps.list(run)
    refusal: dict[str, Any] = {"Errors": [{"Key": "prepared/a", "Code": "AccessDenied", "Message": "No."}]}
    monkeypatch.setattr(aws.s3(), "delete_objects", lambda **_: refusal)
    with pytest.raises(errors.RequestRefused, match=r"DeleteObjects: .*prepared/a: No\. \(AccessDenied\)"):
        prepared_text.delete_half_made("tales", run.name)
