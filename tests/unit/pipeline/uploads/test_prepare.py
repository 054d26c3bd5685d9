"""Prepare accepts texts in every packing, writes the splits and a manifest, and leaves nothing on failure."""

import bz2
import gzip
import hashlib
import lzma
import random
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core import errors
from tests.unit.pipeline.uploads.prepare_step import SPLITS, PrepareStep, tale, tarred, zipped
from uploads import archives, prepared_folder

TALE = tale().encode()
SET = {"train": tale(120).encode(), "valid": tale(30).encode(), "test": tale(40).encode()}

# --- what it accepts


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("tales", TALE),
        ("bom-and-windows-line-ends.txt", b"\xef\xbb\xbf" + TALE.replace(b"\n", b"\r\n").rstrip()),
        ("tales.txt.gz", gzip.compress(TALE)),
        ("two-streams.txt.gz", gzip.compress(TALE[:500]) + gzip.compress(TALE[500:]) + b"\0" * 512),
        ("tales.txt.xz", lzma.compress(TALE)),
        ("tales.txt.bz2", bz2.compress(TALE)),
        ("tales.zip", zipped({"tales.txt": TALE})),
        ("tales.zip", zipped({"a/tales.txt": TALE}, zipfile.ZIP_STORED)),
        ("tales.tar", tarred({"./tales.txt": TALE})),
        ("tales.tar.gz", tarred({"tales.txt": TALE}, "w:gz")),
        ("tales.tar.xz", tarred({"tales.txt": TALE}, "w:xz")),
        ("tales.tar.bz2", tarred({"tales.txt": TALE}, "w:bz2")),
        ("folders.tar", tarred({**{f"folder{n}/empty": b"" for n in range(300)}, "a.txt": TALE})),
        ("long-member-name.tgz", tarred({"f" * 200 + ".txt": TALE}, "w:gz")),
        ("an-archive-without-its-extension.txt", zipped({"tales.txt": TALE})),
        ("not-an-archive-at-all.zip", TALE),
        ("one-text-alone-called-test.zip", zipped({"test.txt": TALE})),
    ],
)
def test_one_text_is_accepted_however_it_is_packed(step: PrepareStep, name: str, packed: bytes) -> None:
    step.put(name, packed)
    splits = step.splits(step.run())
    assert b"".join(splits.values()) == TALE
    assert [text.count(b"\n") for text in splits.values()] == [180, 10, 10]


@pytest.mark.parametrize("pack", [zipped, lambda files: tarred(files, "w:gz")])
def test_the_texts_of_an_archive_are_joined_by_path_without_files_that_are_no_text(
    step: PrepareStep, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    files = {
        "book/02.txt": b"second\n" * 900,
        "book/10.txt": b"third, and its last line is not ended",
        "book/01.txt": b"first\n" * 900,
        "book/empty.txt": b"",
        "zoo.txt": b"fourth\n",
        "README.md": b"read me\n",
        "book/.hidden.txt": b"hidden\n",
        "__MACOSX/book/._01.txt": b"\0\x05\x16\x07",
        "cover.png": b"\x89PNG\r\n\x1a\n\0",
    }
    step.put("book", pack(files))
    texts = b"first\n" * 900 + b"second\n" * 900 + b"third, and its last line is not ended\n" + b"fourth\n"
    assert step.text(step.run()) == texts


@pytest.mark.parametrize(
    "names",
    [
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("Train.txt", "VAL.TXT", "test.txt"),
        ("ptb.train.txt", "ptb.validation.txt", "ptb.test.txt"),
        ("train", "dev", "test"),
        ("training.txt", "val.txt", "testing.txt"),
    ],
)
def test_a_set_of_three_is_accepted_under_the_usual_names(
    step: PrepareStep, names: tuple[str, str, str]
) -> None:
    for name, data in zip(names, SET.values(), strict=True):
        step.put(name, data)
    files = {f"wiki/{name}": data for name, data in zip(names, SET.values(), strict=True)}
    step.s3.put("uploads/packed/all.zip", zipped(files))
    # A tar has no directory: its files come in any order, and others lie between them.
    shuffled = {"wiki/notes.md": b"not a part\n", **dict(reversed(files.items()))}
    step.s3.put("uploads/tarred/all.tgz", tarred(shuffled, "w:gz"))
    for dataset in ("tales", "packed", "tarred"):
        assert step.splits(step.run(dataset)) == SET


def test_each_file_of_a_set_may_be_packed_its_own_way(step: PrepareStep) -> None:
    step.put("train.txt.gz", gzip.compress(SET["train"]))
    step.put("valid.txt.xz", lzma.compress(SET["valid"]))
    step.put("test.txt", SET["test"])
    prepared = step.run()
    assert step.splits(prepared) == SET
    names = [source["uri"].rpartition("/")[2] for source in prepared["source"]]
    assert names == ["train.txt.gz", "valid.txt.xz", "test.txt"]


@pytest.mark.parametrize("pack", [zipped, lambda files: tarred(files, "w:gz")])
def test_members_are_put_in_order_even_if_they_do_not_fit_in_memory_together(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    monkeypatch.setattr(archives, "HELD", 20_000)
    texts = {f"{number:03}.txt": f"{number} ".encode() * 500 + b"\n" for number in range(100)}
    texts["050.txt"] *= 20  # larger than what is held
    names = list(texts)
    random.Random(1).shuffle(names)
    step.put("all", pack({name: texts[name] for name in names}))
    assert step.text(step.run()) == b"".join(texts.values())


# --- what it writes


def test_the_response_and_the_manifest_say_what_was_written(step: PrepareStep) -> None:
    event = step.put("tales.txt", TALE)
    prepared = step.run(upload=event, name="lexline--tales--1")
    manifest = step.manifest(prepared)
    uri = f"s3://{event['bucket']}/{event['key']}"
    source = [{"uri": uri, "etag": event["etag"], "version_id": event["version_id"]}]
    assert prepared["source"] == manifest["source"] == source
    assert prepared["outcome"] == "prepared"
    assert prepared["prepared_uri"] == f"s3://lexline-test/prepared/tales/{prepared['fingerprint']}/"
    assert prepared["manifest_uri"] == prepared["prepared_uri"] + "manifest.json"
    said = {name: manifest[name] for name in ("schema_version", "dataset", "run")}
    assert said == {"schema_version": 1, "dataset": "tales", "run": "lexline--tales--1"}
    assert manifest["fingerprint"] == prepared["fingerprint"]
    assert manifest["preview"] == tale().splitlines()[:5]
    for split, data in step.splits(prepared).items():
        size = {"bytes": len(data), "lines": data.count(b"\n"), "words": len(data.split())}
        assert prepared["splits"][split] == size
        assert manifest["splits"][split] == {**size, "sha256": hashlib.sha256(data).hexdigest()}


def test_the_manifest_is_written_last(step: PrepareStep) -> None:
    step.put("tales.txt", TALE)
    step.run()
    writes = [key for name, key in step.s3.calls if name in ("CompleteMultipartUpload", "PutObject")]
    assert [key.rpartition("/")[2] for key in writes][-1] == "manifest.json"


def test_the_same_text_is_found_again_and_not_written_twice(step: PrepareStep) -> None:
    step.put("tales.txt", TALE)
    first = step.run(name="first")
    step.s3.calls.clear()
    step.put("tales.txt.gz", gzip.compress(TALE))
    second = step.run(name="second")
    assert (second["prepared_uri"], second["splits"]) == (first["prepared_uri"], first["splits"])
    assert second["source"] != first["source"]
    assert {name for name, _ in step.s3.calls} == {"ListObjectsV2", "GetObject"}


def test_other_text_or_other_cuts_go_to_another_folder(step: PrepareStep) -> None:
    step.put("tales.txt", TALE)
    step.s3.put("uploads/longer/tales.txt", TALE + b"The end.\n")
    lines = TALE.splitlines(keepends=True)
    for split, part in zip(SPLITS, (lines[:100], lines[100:150], lines[150:]), strict=True):
        step.s3.put(f"uploads/cut/{split}.txt", b"".join(part))
    assert len({step.run(dataset)["fingerprint"] for dataset in ("tales", "longer", "cut")}) == 3


@pytest.mark.parametrize("damaged", ["train", "manifest.json"])
def test_an_incomplete_folder_is_written_again(step: PrepareStep, damaged: str) -> None:
    step.put("tales.txt", TALE)
    prepared = step.run()
    step.s3.put(f"{prepared['prepared_uri']}{damaged}".removeprefix("s3://lexline-test/"), b"cut short")
    assert step.run() == prepared
    assert step.text(prepared) == TALE
    assert step.manifest(prepared)["fingerprint"] == prepared["fingerprint"]


@pytest.mark.parametrize("versioned", [True, False])
def test_two_runs_may_prepare_the_same_text_at_once(monkeypatch: pytest.MonkeyPatch, versioned: bool) -> None:
    step = PrepareStep(monkeypatch, versioned=versioned)
    step.put("tales.txt", TALE)
    faster: list[dict[str, Any]] = []
    step.s3.on_call("PutObject", 1, lambda _: faster.append(step.run(name="faster")))
    assert step.run(name="slower") == faster[0]
    assert step.text(faster[0]) == TALE
    assert step.manifest(faster[0])["run"] == "faster"


def test_a_gigantic_line_goes_through_in_parts_of_bounded_size(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_folder, "PART_BYTES", 5 * 1024**2)
    text = b"word " * 3_000_000 + b"\n" + TALE
    step.put("tales.txt", text)
    sizes: list[int] = []
    step.s3.before["UploadPart"] = lambda request: sizes.append(len(request["Body"]))
    prepared = step.run()
    assert step.text(prepared) == text
    assert len(sizes) > 3
    assert max(sizes) <= 6 * 1024**2
    assert len(step.manifest(prepared)["preview"][0]) == 200


# --- when S3 fails


LAST_CALLS = {
    "ListObjectsV2": 2,
    "GetObject": 1,
    "CreateMultipartUpload": 3,
    "UploadPart": 3,
    "CompleteMultipartUpload": 3,
    "PutObject": 1,
}
FAILURES = {
    errors.AccessDenied: ("AccessDenied", 403),
    errors.Throttled: ("SlowDown", 503),
    errors.ServiceUnavailable: ("InternalError", 500),
}


@pytest.mark.parametrize("operation", LAST_CALLS)
@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("error", FAILURES)
def test_a_failure_of_s3_leaves_nothing_and_keeps_its_name(
    step: PrepareStep, operation: str, which: str, error: type[errors.PipelineError]
) -> None:
    step.put("tales.txt", TALE)
    step.s3.refuse(operation, *FAILURES[error], call=1 if which == "first" else LAST_CALLS[operation])
    with pytest.raises(error, match=operation):
        step.run()
    assert step.s3.traces() == []
    step.s3.before.clear()
    assert step.text(step.run()) == TALE


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("operation", ["CompleteMultipartUpload", "PutObject"])
@pytest.mark.parametrize("takes_effect", [True, False])
def test_an_error_leaves_nothing_visible_whether_the_call_took_effect_or_not(
    monkeypatch: pytest.MonkeyPatch, operation: str, versioned: bool, takes_effect: bool
) -> None:
    step = PrepareStep(monkeypatch, versioned=versioned)
    step.put("tales.txt", TALE)
    if takes_effect:
        step.s3.lose_response(operation)
    else:
        step.s3.refuse(operation, "InternalError", 500)
    with pytest.raises(errors.ServiceUnavailable):
        step.run()
    assert step.s3.under("prepared/") == []
    assert not step.s3.uploads


def test_a_failing_cleanup_does_not_hide_the_error_before_it(step: PrepareStep) -> None:
    step.put("tales.txt", TALE)
    step.s3.refuse("UploadPart", "InternalError", 500)
    step.s3.refuse("AbortMultipartUpload", "AccessDenied", 403)
    with pytest.raises(errors.ServiceUnavailable, match="UploadPart") as failure:
        step.run()
    assert any("AbortMultipartUpload" in note for note in failure.value.__notes__)
