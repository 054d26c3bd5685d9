"""The prepare step: what it takes, what it writes, and that a refusal leaves nothing behind."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uploads import prepared_folder
from core import errors
from steps import prepare
from tests.unit.pipeline.uploads.prepare_s3 import PrepareStep, tale

WIKITEXT = Path(__file__).resolve().parents[4] / "shared/data/wikitext-2.tar.xz"


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> PrepareStep:
    return PrepareStep(monkeypatch)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def tarred_member(name: str, type_: bytes, linkname: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = type_, linkname
        archive.addfile(member)
    return packed.getvalue()


TALE = tale().encode()
THIRDS = {
    "train": tale(120).encode(),
    "valid": tale(30).encode(),
    "test": tale(40).encode(),
}


def parts(train: str, valid: str, test: str) -> dict[str, bytes]:
    return {train: THIRDS["train"], valid: THIRDS["valid"], test: THIRDS["test"]}


# --- what it takes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("tales.txt", TALE),
        ("tales", TALE),
        ("tales.md", TALE),
        ("tales.txt.gz", gzip.compress(TALE)),
        ("tales.txt.gz", gzip.compress(TALE[:500]) + gzip.compress(TALE[500:])),
        ("tales.txt.xz", lzma.compress(TALE)),
        ("tales.txt.bz2", bz2.compress(TALE)),
        ("tales.zip", zipped({"tales.txt": TALE})),
        ("tales.zip", zipped({"a/tales.txt": TALE}, zipfile.ZIP_STORED)),
        ("tales.tar", tarred({"./tales.txt": TALE})),
        ("tales.tar.gz", tarred({"tales.txt": TALE}, "w:gz")),
        ("tales.tgz", tarred({"tales.txt": TALE}, "w:gz")),
        ("tales.tar.xz", tarred({"tales.txt": TALE}, "w:xz")),
        ("tales.tar.bz2", tarred({"tales.txt": TALE}, "w:bz2")),
        ("tales.tar.gz", tarred({"f" * 200 + ".txt": TALE}, "w:gz")),
        ("an-archive-without-its-extension.txt", zipped({"tales.txt": TALE})),
        ("not-an-archive-at-all.zip", TALE),
        ("one-text-alone-called-test.zip", zipped({"test.txt": TALE})),
    ],
)
def test_takes_one_text_however_it_is_packed(step: PrepareStep, name: str, packed: bytes) -> None:
    step.s3.put(f"uploads/tales/{name}", packed)
    prepared = step.run()
    written = step.splits(prepared)
    assert b"".join(written.values()) == TALE
    assert [text.count(b"\n") for text in written.values()] == [180, 10, 10]


@pytest.mark.parametrize("pack", [zipped, lambda files: tarred(files, "w:gz")])
def test_joins_an_archives_texts_by_path_and_passes_over_what_is_no_text(
    step: PrepareStep, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    files = {
        "book/02.txt": b"second\n" * 900,
        "book/10.txt": b"third, and its last line is not ended",
        "book/01.txt": b"first\n" * 900,
        "book/empty.txt": b"",
        "zoo.txt": b"fourth\n",
        "README.md": b"read me\n",
        "book/LICENSE": b"licence\n",
        "book/.hidden.txt": b"hidden\n",
        "__MACOSX/book/._01.txt": b"\0\x05\x16\x07",
        "cover.png": b"\x89PNG\r\n\x1a\n\0",
    }
    step.s3.put("uploads/tales/book", pack(files))
    prepared = step.run()
    assert b"".join(step.splits(prepared).values()) == (
        b"first\n" * 900 + b"second\n" * 900 + b"third, and its last line is not ended\n" + b"fourth\n"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("wiki.train.raw", "wiki.valid.raw", "wiki.test.raw"),
        ("Train.txt", "VAL.TXT", "test.txt"),
        ("ptb.train.txt", "ptb.validation.txt", "ptb.test.txt"),
        ("train", "dev", "test"),
        ("training.txt", "val.txt", "testing.txt"),
    ],
)
def test_takes_a_set_of_three_under_the_names_in_use(step: PrepareStep, names: tuple[str, str, str]) -> None:
    files = parts(*names)
    for name, data in files.items():
        step.s3.put(f"uploads/tales/{name}", data)
    step.s3.put("uploads/packed/all.zip", zipped({f"wiki/{name}": data for name, data in files.items()}))
    for dataset in ("tales", "packed"):
        prepared = step.run(dataset)
        assert step.splits(prepared) == THIRDS
    assert [step.manifest(prepared)["splits"][s]["lines"] for s in THIRDS] == [120, 30, 40]


def test_takes_a_set_of_which_each_file_is_packed_its_own_way(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/train.txt.gz", gzip.compress(THIRDS["train"]))
    step.s3.put("uploads/tales/valid.txt.xz", lzma.compress(THIRDS["valid"]))
    step.s3.put("uploads/tales/test.txt", THIRDS["test"])
    prepared = step.run()
    assert step.splits(prepared) == THIRDS
    assert [source["uri"].rpartition("/")[2] for source in prepared["source"]] == [
        "train.txt.gz",
        "valid.txt.xz",
        "test.txt",
    ]


def test_a_tar_gives_its_set_in_any_order_and_leaves_the_rest_alone(step: PrepareStep) -> None:
    files = {"d/test.txt": THIRDS["test"], "d/notes.txt": b"not a part\n", "d/valid.txt": THIRDS["valid"]}
    step.s3.put("uploads/tales/d.tgz", tarred({**files, "d/train.txt": THIRDS["train"]}, "w:gz"))
    assert step.splits(step.run()) == THIRDS


def test_a_tars_members_are_put_in_order_also_when_they_do_not_fit_in_memory_together(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploads.archives.HELD", 20_000)
    texts = {f"{number:03}.txt": f"{number} ".encode() * 500 + b"\n" for number in range(100)}
    names = list(texts)
    random.Random(1).shuffle(names)
    step.s3.put("uploads/tales/all.tgz", tarred({name: texts[name] for name in names}, "w:gz"))
    assert b"".join(step.splits(step.run()).values()) == b"".join(texts.values())


@pytest.mark.skipif(not WIKITEXT.exists(), reason="the WikiText-2 archive is not on this machine")
def test_wikitext_2_is_prepared_byte_for_byte(step: PrepareStep) -> None:
    step.s3.put("uploads/wikitext/wikitext-2.tar.xz", WIKITEXT.read_bytes())
    manifest = step.manifest(step.run("wikitext"))
    with tarfile.open(WIKITEXT) as archive:
        for split in ("train", "valid", "test"):
            member = archive.extractfile(f"wikitext-2/{split}.txt")
            assert member
            data = member.read()
            assert manifest["splits"][split] == {
                "bytes": len(data),
                "lines": data.count(b"\n"),
                "words": len(data.decode().split()),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
    # DESIGN's figures count one <eos> a line: 2,088,628, 217,646 and 245,569 tokens.
    tokens = [entry["words"] + entry["lines"] for entry in manifest["splits"].values()]
    assert tokens == [2_088_628, 217_646, 245_569]
    assert manifest["preview"][1] == " = Valkyria Chronicles III = "


def test_a_byte_order_mark_and_windows_line_ends_do_not_reach_the_corpus(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", b"\xef\xbb\xbf" + TALE.replace(b"\n", b"\r\n").rstrip())
    assert b"".join(step.splits(step.run()).values()) == TALE


# --- what it writes ------------------------------------------------------------------------------


def test_the_answer_and_the_manifest_say_what_was_written(step: PrepareStep) -> None:
    event = step.s3.put("uploads/tales/tales.txt", TALE)
    prepared = step.run(upload=event, name="lexline-tales-1")
    manifest = step.manifest(prepared)
    source = [
        {
            "uri": "s3://lexline-test/uploads/tales/tales.txt",
            "etag": event["etag"],
            "version_id": event["version_id"],
        }
    ]
    assert prepared["source"] == manifest["source"] == source
    assert prepared["outcome"] == "prepared"
    assert prepared["prepared_uri"] == f"s3://lexline-test/prepared/tales/{prepared['fingerprint']}/"
    assert prepared["manifest_uri"] == prepared["prepared_uri"] + "manifest.json"
    assert manifest["schema_version"] == 1
    assert (manifest["dataset"], manifest["run"]) == ("tales", "lexline-tales-1")
    assert manifest["fingerprint"] == prepared["fingerprint"]
    assert manifest["preview"] == tale().splitlines()[:5]
    for split, data in step.splits(prepared).items():
        size = {"bytes": len(data), "lines": data.count(b"\n"), "words": len(data.split())}
        assert prepared["splits"][split] == size
        assert manifest["splits"][split] == {**size, "sha256": hashlib.sha256(data).hexdigest()}


def test_the_manifest_is_written_last(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.run()
    writes = [key for name, key in step.s3.calls if name in ("CompleteMultipartUpload", "PutObject")]
    assert [key.rpartition("/")[2] for key in writes] == ["train", "valid", "test", "manifest.json"]


def test_the_same_text_is_found_again_and_not_written_twice(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    first = step.run(name="one")
    step.s3.calls.clear()
    step.s3.put("uploads/tales/tales.txt.gz", gzip.compress(TALE))
    second = step.run(name="two")
    assert second["prepared_uri"] == first["prepared_uri"]
    assert second["splits"] == first["splits"]
    assert second["source"] != first["source"]
    assert {name for name, _ in step.s3.calls} == {"ListObjectsV2", "GetObject"}


def test_other_text_or_other_cuts_go_to_another_place(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.s3.put("uploads/longer/tales.txt", TALE + b"The end.\n")
    lines = TALE.splitlines(keepends=True)
    for split, (start, end) in {"train": (0, 100), "valid": (100, 150), "test": (150, 200)}.items():
        step.s3.put(f"uploads/cut/{split}.txt", b"".join(lines[start:end]))
    prints = {step.run(dataset)["fingerprint"] for dataset in ("tales", "longer", "cut")}
    assert len(prints) == 3


@pytest.mark.parametrize("damage", ["train", "manifest.json"])
def test_an_incomplete_folder_is_written_again(step: PrepareStep, damage: str) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    prepared = step.run()
    key = prepared["prepared_uri"].removeprefix("s3://lexline-test/") + damage
    step.s3.put(key, b"cut short")
    assert step.run() == prepared
    assert b"".join(step.splits(prepared).values()) == TALE
    assert step.manifest(prepared)["fingerprint"] == prepared["fingerprint"]


@pytest.mark.parametrize("versioned", [True, False])
def test_two_runs_may_prepare_the_same_text_at_once(monkeypatch: pytest.MonkeyPatch, versioned: bool) -> None:
    step = PrepareStep(monkeypatch, versioned=versioned)
    step.s3.put("uploads/tales/tales.txt", TALE)
    others: list[dict[str, Any]] = []

    def other_run_is_faster(_: dict[str, Any]) -> None:
        del step.s3.before["PutObject"]
        others.append(step.run(name="faster"))

    step.s3.before["PutObject"] = other_run_is_faster
    assert step.run(name="slower") == others[0]
    assert b"".join(step.splits(others[0]).values()) == TALE
    assert step.manifest(others[0])["run"] == "faster"


def test_writes_in_parts_that_s3_takes_and_holds_no_more_than_one(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_folder, "PART_BYTES", 5 * 1024**2)
    text = TALE * 1500
    step.s3.put("uploads/tales/tales.txt", text)
    prepared = step.run()
    assert b"".join(step.splits(prepared).values()) == text
    sent = [key.rpartition("/")[2] for name, key in step.s3.calls if name == "UploadPart"]
    assert sent == ["train", "train", "train", "valid", "test"]


def test_one_gigantic_line_among_others_goes_through(step: PrepareStep) -> None:
    giant = b"word " * 1_000_000 + b"\n"
    step.s3.put("uploads/tales/tales.txt", giant + TALE)
    prepared = step.run()
    assert b"".join(step.splits(prepared).values()) == giant + TALE
    assert len(step.manifest(prepared)["preview"][0]) == 200


# --- what it refuses -----------------------------------------------------------------------------

BOMB = b"a b c d e f g\n" * 10_000_000


def encrypted() -> bytes:
    data = bytearray(zipped({"tales.txt": TALE}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    return bytes(data)


def zip_with_link() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("tales.txt")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return packed.getvalue()


def broken(packed: bytes) -> bytes:
    """A byte in the middle turned over."""
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


def sparse() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("tales.txt")
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        archive.addfile(member)
    return packed.getvalue()


REFUSALS: dict[str, tuple[bytes | dict[str, bytes], type[errors.PipelineError], str]] = {
    "empty.txt": (b"", errors.DatasetEmpty, "is empty"),
    "blank.txt": (b" \n\r\n\t\n", errors.DatasetEmpty, "no words"),
    "bom.txt": (b"\xef\xbb\xbf", errors.DatasetEmpty, "no words"),
    "empty.txt.gz": (gzip.compress(b""), errors.DatasetEmpty, "no words"),
    "image.png": (b"\x89PNG\r\n\x1a\n" + b"x" * 99, errors.DatasetNotText, "a PNG image"),
    "paper.pdf": (b"%PDF-1.7\n" + TALE, errors.DatasetNotText, "a PDF"),
    "tales.docx": (
        zipped({"[Content_Types].xml": b"<x/>", "word/document.xml": TALE}),
        errors.DatasetNotText,
        "a document",
    ),
    "nul.txt": (TALE + b"\0" + TALE, errors.DatasetNotText, f"NUL byte at offset {len(TALE)}"),
    "tales.7z": (b"7z\xbc\xaf\x27\x1c" + TALE, errors.DatasetNotText, "7z"),
    "latin1.txt": (
        TALE + "Käse".encode("latin-1") + TALE,
        errors.DatasetNotUtf8,
        f"byte 0xE4 at byte offset {len(TALE) + 1}",
    ),
    "cut.txt": (TALE + b"\xe7\x8e", errors.DatasetNotUtf8, f"byte offset {len(TALE)}"),
    "utf16.txt": (tale().encode("utf-16"), errors.DatasetNotUtf8, "byte offset 0 .*UTF-16"),
    "latin1.zip": (
        zipped({"a.txt": TALE, "b/c.txt": b"abc\xff"}),
        errors.DatasetNotUtf8,
        r"member 'b/c\.txt', .*byte 0xFF at byte offset 3",
    ),
    "utf16.tgz": (
        tarred({"a.txt": TALE, "b.txt": tale().encode("utf-16")}, "w:gz"),
        errors.DatasetNotUtf8,
        r"member 'b\.txt'",
    ),
    "few-words.txt": (tale(80).encode(), errors.DatasetTooSmall, "720 words in all; at least 790"),
    "one-line.txt": (b"word " * 5000, errors.DatasetTooSmall, "0 words for valid.*between lines"),
    "short-end.txt": (TALE + b"a\n" * 180, errors.DatasetTooSmall, "19 words for valid; at least 35"),
    "images.zip": (zipped({"a.png": b"\0\0", "b.png": b"\0"}), errors.ArchiveHasNoCorpus, "only 'a.png'"),
    "only-a-readme.tar.xz": (tarred({"README.txt": TALE}, "w:xz"), errors.ArchiveHasNoCorpus, "no text file"),
    "nothing.zip": (zipped({}), errors.ArchiveHasNoCorpus, "no text file"),
    "two-sets.zip": (
        zipped({**parts("a/train", "a/valid", "a/test"), **parts("b/train", "b/valid", "b/test")}),
        errors.ArchiveHasNoCorpus,
        "more than one set.*'a/train' and 'b/train'",
    ),
    "two-valids.zip": (
        zipped({**parts("train.txt", "valid.txt", "test.txt"), "val.txt": b"x"}),
        errors.ArchiveHasNoCorpus,
        "two files for valid: 'val.txt' and 'valid.txt'",
    ),
    "no-valid.zip": (
        zipped({"train.txt": TALE, "test.txt": TALE}),
        errors.SplitIncomplete,
        "no valid to go with",
    ),
    "dots.zip": (zipped({"../evil.txt": TALE}), errors.ArchiveUnsafe, r"outside its folder: '\.\./evil"),
    "absolute.zip": (zipped({"/etc/evil.txt": TALE}), errors.ArchiveUnsafe, "'/etc/evil.txt'"),
    "windows.zip": (zipped({"..\\evil.txt": TALE}), errors.ArchiveUnsafe, "evil"),
    "drive.zip": (zipped({"C:/evil.txt": TALE}), errors.ArchiveUnsafe, "evil"),
    "link.zip": (zip_with_link(), errors.ArchiveUnsafe, "a link or a device"),
    "dots.tar.gz": (tarred({"a/../../evil.txt": TALE}, "w:gz"), errors.ArchiveUnsafe, "outside"),
    "absolute.tar.xz": (tarred({"/evil.txt": TALE}, "w:xz"), errors.ArchiveUnsafe, "outside"),
    "pax-dots.tar": (tarred({"../" + "e" * 200: TALE}), errors.ArchiveUnsafe, "outside"),
    "symlink.tgz": (tarred_member("a.txt", tarfile.SYMTYPE, "/etc/passwd"), errors.ArchiveUnsafe, "a link"),
    "hardlink.tgz": (tarred_member("a.txt", tarfile.LNKTYPE, "../b"), errors.ArchiveUnsafe, "a link"),
    "device.tgz": (tarred_member("null", tarfile.CHRTYPE), errors.ArchiveUnsafe, "neither a file"),
    "sparse.tar": (sparse(), errors.ArchiveUnsafe, "with holes"),
    "encrypted.zip": (encrypted(), errors.ArchiveEncrypted, "encrypted.*'tales.txt'"),
    "nested.zip": (
        zipped({"a.txt": TALE, "more.tar.gz": tarred({"b.txt": TALE}, "w:gz")}),
        errors.ArchiveNested,
        "another archive: 'more.tar.gz'",
    ),
    "nested.tar.gz": (tarred({"all.zip": zipped({"b": TALE})}, "w:gz"), errors.ArchiveNested, "all.zip"),
    "twice.gz": (gzip.compress(gzip.compress(TALE)), errors.ArchiveNested, "gzip within gzip"),
    "bomb.txt.gz": (gzip.compress(BOMB), errors.ArchiveTooLarge, "200 times"),
    "bomb.tar.xz": (
        lzma.compress(tarred({"a.txt": BOMB}), preset=0),
        errors.ArchiveTooLarge,
        "200 times",
    ),
    "bomb.zip": (zipped({"a.txt": BOMB}), errors.ArchiveTooLarge, "200 times"),
    "hungry.txt.xz": (
        lzma.compress(TALE, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 * 1024**2, "preset": 0}]),
        errors.ArchiveTooLarge,
        "128 MiB of memory",
    ),
    "lzma.zip": (zipped({"a.txt": TALE}, zipfile.ZIP_LZMA), errors.ArchiveCorrupt, "method 14"),
    "short.txt.gz": (gzip.compress(TALE)[:-20], errors.ArchiveCorrupt, "ends early"),
    "broken.txt.gz": (broken(gzip.compress(TALE)), errors.ArchiveCorrupt, "does not unpack as gzip"),
    "trailing.txt.gz": (gzip.compress(TALE) + b"junk", errors.ArchiveCorrupt, "as gzip"),
    "short.tar.xz": (tarred({"a": TALE}, "w:xz")[:-40], errors.ArchiveCorrupt, "ends early"),
    "broken.tar.xz": (broken(tarred({"a": TALE}, "w:xz")), errors.ArchiveCorrupt, "as xz"),
    "no-end.tar": (
        tarred({"a": TALE})[: 512 + len(TALE) + -len(TALE) % 512],
        errors.ArchiveCorrupt,
        "ends early",
    ),
    "short.tar": (tarred({"a": TALE})[: 512 + len(TALE) // 2], errors.ArchiveCorrupt, "ends early"),
    "bad-header.tar": (
        tarred({"a": TALE})[: 512 + len(TALE) + -len(TALE) % 512] + b"x" * 2048,
        errors.ArchiveCorrupt,
        "does not unpack as tar",
    ),
    "short.zip": (zipped({"a.txt": TALE})[:-30], errors.ArchiveCorrupt, "as zip"),
    "broken.zip": (broken(zipped({"a.txt": TALE})), errors.ArchiveCorrupt, "as zip"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refuses_and_leaves_nothing(step: PrepareStep, name: str) -> None:
    data, error, message = REFUSALS[name]
    assert isinstance(data, bytes)
    step.s3.put(f"uploads/tales/{name}", data)
    with pytest.raises(error, match=message) as refusal:
        step.run()
    assert type(refusal.value) is error
    assert f"s3://lexline-test/uploads/tales/{name}" in str(refusal.value)
    assert step.s3.traces() == []


def test_refuses_more_members_than_it_would_look_at(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploads.archives.MOST_MEMBERS", 10)
    files = {f"{number}.txt": b"x" for number in range(11)}
    for name, data in {"a.zip": zipped(files), "a.tgz": tarred(files, "w:gz")}.items():
        step.s3.put(f"uploads/tales/{name}", data)
        with pytest.raises(errors.ArchiveTooLarge, match="more than 10 members"):
            step.run()
    assert step.s3.traces() == []


def test_refuses_a_tar_whose_header_would_fill_the_memory(step: PrepareStep) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5 * 1024**3
    step.s3.put("uploads/tales/a.tar", header.tobuf(tarfile.GNU_FORMAT) + TALE)
    with pytest.raises(errors.ArchiveCorrupt, match="header that is too long"):
        step.run()


@pytest.mark.parametrize("mode", ["gnu", "pax", "zip"])
def test_refuses_a_member_whose_name_is_no_files(step: PrepareStep, mode: str) -> None:
    # Ten thousand of them would fill the memory, and each would go into a message whole.
    name = "é/" * 10_000
    if mode == "zip":
        step.s3.put("uploads/tales/a", zipped({f"{name}a.txt": TALE}))
    else:
        packed = io.BytesIO()
        format_ = tarfile.GNU_FORMAT if mode == "gnu" else tarfile.PAX_FORMAT
        with tarfile.open(fileobj=packed, mode="w", format=format_) as archive:
            archive.addfile(tarfile.TarInfo(f"{name}a.txt"))
        step.s3.put("uploads/tales/a", packed.getvalue())
    with pytest.raises(errors.ArchiveUnsafe, match="at most 4,096 characters") as refusal:
        step.run()
    assert len(str(refusal.value)) < 1000


def test_refuses_more_text_than_one_run_prepares(step: PrepareStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploads.decompression.LARGEST_CORPUS", len(TALE) - 1)
    step.s3.put("uploads/tales/tales.txt", TALE)
    with pytest.raises(errors.DatasetTooLarge, match=r"tales\.txt has .* bytes"):
        step.run()
    step.s3.put("uploads/tales/tales.zip", zipped({"a": TALE}))
    with pytest.raises(errors.ArchiveTooLarge, match=r"tales\.zip unpacks to too much"):
        step.run()
    assert step.s3.traces() == []


def test_gives_up_while_there_is_time_to_clean_up(step: PrepareStep, monkeypatch: pytest.MonkeyPatch) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.s3.before["CreateMultipartUpload"] = lambda _: monkeypatch.setattr(prepare, "SECONDS", -1)
    monkeypatch.setattr("uploads.decompression.CHUNK", 100)
    with pytest.raises(errors.DatasetTooLarge, match=r"tales\.txt was not through"):
        step.run()
    assert step.s3.traces() == []


def test_what_is_enough_follows_from_batch_size_and_bptt(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.run()
    with pytest.raises(
        errors.DatasetTooSmall, match=r"1,800 words in all; at least 3,670.*lower.*batch_size"
    ):
        step.run(batch_size=100)
    step.s3.put("uploads/tiny/tiny.txt", tale(30).encode())
    assert step.run("tiny", batch_size=2, bptt=5)["splits"]["train"]["lines"] == 28


def test_a_set_that_was_prepared_before_is_still_measured_against_this_runs_needs(step: PrepareStep) -> None:
    for name, data in parts("train.txt", "valid.txt", "test.txt").items():
        step.s3.put(f"uploads/tales/{name}", data)
    step.run()
    with pytest.raises(errors.DatasetTooSmall, match=r"valid\.txt gives 270 words for valid; at least 300"):
        step.run(batch_size=2, bptt=300)


# --- when S3 fails -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("ListObjectsV2", 1),
        ("ListObjectsV2", 2),
        ("GetObject", 1),
        ("CreateMultipartUpload", 1),
        ("CreateMultipartUpload", 3),
        ("UploadPart", 1),
        ("UploadPart", 3),
        ("CompleteMultipartUpload", 1),
        ("CompleteMultipartUpload", 2),
        ("CompleteMultipartUpload", 3),
        ("PutObject", 1),
    ],
)
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDenied", 403, errors.AccessDenied),
        ("SlowDown", 503, errors.Throttled),
        ("InternalError", 500, errors.ServiceUnavailable),
    ],
)
def test_a_failure_of_s3_leaves_nothing_and_keeps_its_name(
    step: PrepareStep, operation: str, call: int, code: str, status: int, error: type[Exception]
) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.s3.refuse(operation, code, status, call=call)
    with pytest.raises(error, match=operation):
        step.run()
    assert step.s3.traces() == []
    step.s3.before.clear()
    assert b"".join(step.splits(step.run()).values()) == TALE


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("operation", ["CompleteMultipartUpload", "PutObject"])
def test_an_object_that_appeared_although_s3_said_otherwise_is_removed(
    monkeypatch: pytest.MonkeyPatch, operation: str, versioned: bool
) -> None:
    step = PrepareStep(monkeypatch, versioned=versioned)
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.s3.lose_answer(operation)
    with pytest.raises(errors.ServiceUnavailable):
        step.run()
    assert step.s3.under("prepared/") == []
    assert not step.s3.uploads


def test_in_a_bucket_without_versions_a_failure_leaves_nothing_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = PrepareStep(monkeypatch, versioned=False)
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.s3.refuse("PutObject", "InternalError", 500)
    with pytest.raises(errors.ServiceUnavailable):
        step.run()
    assert step.s3.traces() == []


def test_a_failing_clean_up_does_not_hide_why_it_was_needed(step: PrepareStep) -> None:
    step.s3.put("uploads/tales/tales.txt", TALE)
    step.s3.refuse("UploadPart", "InternalError", 500)
    step.s3.refuse("AbortMultipartUpload", "AccessDenied", 403)
    with pytest.raises(errors.ServiceUnavailable, match="UploadPart") as failure:
        step.run()
    assert any("AbortMultipartUpload" in note for note in failure.value.__notes__)
