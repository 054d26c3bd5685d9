"""The folder of a run's corpus: its documents, what S3's failures leave, and objects that change."""

from __future__ import annotations

import gc
import gzip
import json
import re
import tracemalloc
from typing import TYPE_CHECKING, cast

import pytest

from contracts.dataset import ItemResult, LeftOut, Manifest, Plan, Prepared
from core import errors
from tests.unit.pipeline.uploads.dataset import RUN, Files, Objects, tale
from tests.unit.pipeline.uploads.s3_in_memory import BUCKET, Request, S3InMemory
from uploads import corpus_folder, items, listing, object_reader, planning, ranges
from uploads.assembly import assemble
from uploads.corpus_folder import CorpusFolder, ItemText

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

PREFIX = f"prepared/tales/{RUN}/"


@pytest.fixture
def s3() -> S3InMemory:
    return S3InMemory()


def put(s3: S3InMemory, files: Files) -> None:
    for name, data in files.items():
        s3.put(f"uploads/tales/{name}", data.encode() if isinstance(data, str) else data)


def plan_of(s3: S3InMemory) -> Plan:
    return planning.plan(s3.client, BUCKET, "tales", listing.listed(s3.client, BUCKET, "tales"))


def read_all(s3: S3InMemory, folder: CorpusFolder) -> None:
    for item in folder.plan().items:
        with folder.item_text(item) as text:
            result = items.read(s3.client, BUCKET, "tales", item, text.write, 600)
        folder.write_result(item, result)


def prepare(s3: S3InMemory) -> Prepared:
    """Do what the three steps do."""
    folder = CorpusFolder(s3.client, BUCKET, "tales", RUN)
    folder.write_plan(plan_of(s3))
    read_all(s3, folder)
    plan = folder.plan()
    return folder.publish(assemble(plan, folder.results(plan), RUN))


def test_a_corpus_lies_in_the_folder_of_its_run(s3: S3InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "GROUP_OBJECTS", 1)
    texts = {f"{number:02}.txt": tale(200 + number) for number in range(20)}
    put(s3, {**texts, "README.md": "read me", "a.gz": gzip.compress(b"Short text.\n") + b"!"})
    prepared = prepare(s3)
    numbers = [f"{number:05}" for number in range(21)]
    assert s3.under("prepared/") == sorted([
        f"{PREFIX}plan.json", f"{PREFIX}items.json", f"{PREFIX}corpus/manifest.json",
        *(f"{PREFIX}corpus/{number}" for number in numbers),
        *(f"{PREFIX}items/{number}.json" for number in numbers),
    ])  # fmt: skip
    assert prepared.prepared_uri == f"s3://{BUCKET}/{PREFIX}corpus/"
    assert prepared.manifest_uri == f"s3://{BUCKET}/{PREFIX}corpus/manifest.json"
    assert (prepared.files, prepared.left_out_count) == (21, 1)
    assert prepared.notes == ["a.gz: What comes after the end of its gzip data was ignored: 1 byte."]
    manifest = Manifest.model_validate_json(s3.read(f"{PREFIX}corpus/manifest.json"))
    assert manifest.preview == tale().splitlines()[:5]
    assert manifest.run == RUN
    assert {source.version_id != "" for source in manifest.source} == {True}
    text = "".join(
        s3.read(f"{PREFIX}corpus/{name}")[first:end].decode()
        for split in (manifest.splits.train, manifest.splits.valid, manifest.splits.test)
        for name, first, end in split.ranges
    )
    assert sorted(text.splitlines()) == sorted("".join([*texts.values(), "Short text.\n"]).splitlines())
    assert json.loads(s3.read(f"{PREFIX}items.json"))[3]["objects"][0]["name"] == "03.txt"
    # The same run may do it again: a step is retried.
    assert prepare(s3) == prepared


def test_an_item_without_text_has_no_object(s3: S3InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "GROUP_OBJECTS", 1)
    put(s3, {"a.png": b"\x89PNG\0", "b.txt": tale()})
    assert prepare(s3).left_out[0].name == "a.png"
    assert f"{PREFIX}corpus/00000" not in s3.under(PREFIX)


class OneFile(Objects):
    """One uploaded file, and a folder that forgets what is written to it."""

    def put_object(self, **_: object) -> None:
        pass


def test_a_function_that_reads_many_items_keeps_nothing_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = OneFile({"a.txt": tale(200) * 200})
    s3 = cast("S3Client", objects)
    # The plan reads the beginning of a file that is larger than this.
    monkeypatch.setattr(planning, "GROUP_BYTES", 1024**2)
    monkeypatch.setattr(ranges, "RANGE", 1024**2)
    plan = planning.plan(s3, BUCKET, "tales", objects.listed())
    folder = CorpusFolder(s3, BUCKET, "tales", RUN)

    def read() -> int:
        planning.plan(s3, BUCKET, "tales", objects.listed())
        with folder.item_text(plan.items[0]) as text:
            items.read(s3, BUCKET, "tales", plan.items[0], text.write, 600)
        return tracemalloc.get_traced_memory()[0]

    gc.disable()
    tracemalloc.start()
    try:
        first, *_, last = [read() for _ in range(4)]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert last - first < 1024**2


def test_a_long_text_is_written_in_parts_and_not_visible_before_it_is_whole(
    s3: S3InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_folder, "PART_BYTES", 5 * 1024**2)
    folder = CorpusFolder(s3.client, BUCKET, "tales", RUN)
    put(s3, {"a.txt": tale()})
    (item,) = plan_of(s3).items
    sizes: list[int] = []
    s3.before["UploadPart"] = lambda request: sizes.append(len(request["Body"]))
    with folder.item_text(item) as text:
        for _ in range(12):
            text.write(b"x" * 1024**2)
        assert s3.under(PREFIX) == []
    assert sizes == [5 * 1024**2, 5 * 1024**2, 2 * 1024**2]
    assert s3.read(f"{PREFIX}corpus/00000") == b"x" * 12 * 1024**2

    with pytest.raises(RuntimeError), folder.item_text(item) as text:
        write_and_fail(text)
    assert s3.uploads() == []
    assert s3.read(f"{PREFIX}corpus/00000")[:1] == b"x"


def write_and_fail(text: ItemText) -> None:
    text.write(b"y" * 6 * 1024**2)
    raise RuntimeError


def test_what_the_state_machine_passes_on_is_short(s3: S3InMemory) -> None:
    manifest = Manifest.model_validate({
        "dataset": "tales", "fingerprint": "ab" * 32, "run": RUN, "prepared_at": "2026-01-01T00:00:00Z",
        "splits": {
            name: {"lines": 1, "words": 1, "bytes": 2, "ranges": [["00000", 0, 2]]}
            for name in ("train", "valid", "test")
        },
        "files": [
            {"name": "n" * 5000, "lines": 1, "words": 1, "bytes": 2, "notes": ["A note. " * 500]}
            for _ in range(100)
        ],
        "left_out": [
            LeftOut(name="n" * 5000, reason="r" * 5000, error="DatasetNotText").model_dump()
            for _ in range(100)
        ],
        "source": [],
    })  # fmt: skip
    s3.put(f"{PREFIX}corpus/00000", b"x\n")
    prepared = CorpusFolder(s3.client, BUCKET, "tales", RUN).publish(manifest)
    assert (prepared.left_out_count, len(prepared.left_out), len(prepared.notes)) == (100, 20, 20)
    assert len(prepared.model_dump_json()) < 30_000


# --- when S3 fails

CALLS = ["ListObjectsV2", "GetObject", "PutObject"]
FAILURES = {
    errors.AccessDenied: ("AccessDenied", 403),
    errors.Throttled: ("SlowDown", 503),
    errors.ServiceUnavailable: ("InternalError", 500),
}


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("error", FAILURES)
def test_a_failure_of_s3_keeps_its_name(
    s3: S3InMemory, operation: str, error: type[errors.PipelineError]
) -> None:
    put(s3, {"tales.txt": tale()})
    s3.refuse(operation, *FAILURES[error])
    with pytest.raises((error, errors.ServiceUnavailable) if operation == "GetObject" else error):
        prepare(s3)
    assert f"{PREFIX}corpus/manifest.json" not in s3.under(PREFIX)
    s3.before.clear()
    assert prepare(s3).files == 1


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_failure_leaves_no_open_upload(
    s3: S3InMemory, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(corpus_folder, "PART_BYTES", 1000)
    put(s3, {"tales.txt": tale()})
    folder = CorpusFolder(s3.client, BUCKET, "tales", RUN)
    (item,) = plan_of(s3).items
    s3.refuse(operation, "InternalError", 500)
    with pytest.raises(errors.ServiceUnavailable, match=operation), folder.item_text(item) as text:
        text.write(b"x" * 1500)
    assert s3.uploads() == []
    assert s3.under("prepared/") == []


def test_a_failing_cleanup_does_not_hide_the_error_before_it(
    s3: S3InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_folder, "PART_BYTES", 1000)
    put(s3, {"tales.txt": tale()})
    (item,) = plan_of(s3).items
    s3.refuse("UploadPart", "InternalError", 500)
    s3.refuse("AbortMultipartUpload", "AccessDenied", 403)
    folder = CorpusFolder(s3.client, BUCKET, "tales", RUN)
    with (
        pytest.raises(errors.ServiceUnavailable, match="UploadPart") as failure,
        folder.item_text(item) as text,
    ):
        text.write(b"x" * 1500)
    assert any("AbortMultipartUpload" in note for note in failure.value.__notes__)


@pytest.mark.parametrize("missing", ["plan.json", "items.json", "items/00000.json"])
def test_a_missing_document_is_named(s3: S3InMemory, missing: str) -> None:
    put(s3, {"tales.txt": tale()})
    folder = CorpusFolder(s3.client, BUCKET, "tales", RUN)
    folder.write_plan(plan_of(s3))
    read_all(s3, folder)
    s3.delete(f"{PREFIX}{missing}")
    with pytest.raises(errors.ServiceUnavailable, match=re.escape(f"{PREFIX}{missing} does not exist")):
        list(folder.results(folder.plan()))


# --- an object that changes while it is read


@pytest.mark.parametrize("call", [1, 2, 5])
@pytest.mark.parametrize("becomes", ["replaced", "deleted"])
@pytest.mark.parametrize("pack", [str.encode, lambda text: gzip.compress(text.encode(), 0)])
def test_an_object_that_changes_while_it_is_read_is_an_error(
    s3: S3InMemory, monkeypatch: pytest.MonkeyPatch, call: int, becomes: str, pack: Callable[[str], bytes]
) -> None:
    # The object is read with several requests.
    monkeypatch.setattr(object_reader, "FIRST_RANGE", 1000)
    monkeypatch.setattr(object_reader, "LARGEST_RANGE", 1000)
    put(s3, {"tales.txt": pack(tale())})
    (item,) = plan_of(s3).items

    def change(_: Request) -> None:
        if becomes == "replaced":
            put(s3, {"tales.txt": tale(300)})
        else:
            s3.delete("uploads/tales/tales.txt")

    s3.on_call("GetObject", call, change)
    with pytest.raises(errors.DatasetReplaced, match=rf"tales\.txt was {becomes} while it was read"):
        items.read(s3.client, BUCKET, "tales", item, lambda _: None, 600)
    assert s3.traces() == []


def test_an_object_that_changes_while_its_head_is_read_is_an_error(
    s3: S3InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "GROUP_BYTES", 100)
    monkeypatch.setattr(ranges, "RANGE", 1000)
    put(s3, {"tales.txt": tale()})
    listed = listing.listed(s3.client, BUCKET, "tales")
    put(s3, {"tales.txt": tale(300)})
    with pytest.raises(errors.DatasetReplaced):
        planning.plan(s3.client, BUCKET, "tales", listed)


def test_a_small_object_takes_one_request(s3: S3InMemory) -> None:
    put(s3, {f"{number}.txt": tale(5000) for number in range(3)})
    (item,) = plan_of(s3).items
    s3.calls.clear()
    result = items.read(s3.client, BUCKET, "tales", item, lambda _: None, 600)
    assert ItemResult.model_validate_json(result.model_dump_json()) == result
    assert [name for name, _ in s3.calls] == ["GetObject"] * 3
