"""Texts are read however they are packed; what is no text is left out with a sentence that helps."""

import bz2
import gzip
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping

import pytest
from backports import zstd

from core import errors
from tests.unit.pipeline.archives import tarred, zipped
from tests.unit.pipeline.uploads.dataset import left_out, prepared, read, tale

TALE = tale().encode()
SKIPPABLE_FRAME = b"\x50\x2a\x4d\x18\x01\0\0\0x"
TAR_END = 512 + len(TALE) + -len(TALE) % 512  # where the only member of a tar of TALE ends


def v7_tar(name: str, data: bytes) -> bytes:
    """Return a tar as the seventh Unix wrote it: headers without a signature."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"%011o\0" % len(data)
    header[257:512] = bytes(255)
    header[156] = 0
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header) + data + bytes(-len(data) % 512 + 1024)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("tales", TALE),
        ("bom-and-windows-line-ends.txt", b"\xef\xbb\xbf" + TALE.replace(b"\n", b"\r\n").rstrip()),
        ("tales.txt.gz", gzip.compress(TALE)),
        ("two-streams.txt.gz", gzip.compress(TALE[:500]) + gzip.compress(TALE[500:]) + b"\0" * 512),
        ("tales.txt.xz", lzma.compress(TALE)),
        ("two-streams.txt.xz", lzma.compress(TALE[:500]) + bytes(4) + lzma.compress(TALE[500:])),
        ("tales.txt.bz2", bz2.compress(TALE)),
        ("tales.txt.zst", zstd.compress(TALE)),
        ("skippable-frame.txt.zst", SKIPPABLE_FRAME + zstd.compress(TALE[:99]) + zstd.compress(TALE[99:])),
        ("tales.zip", zipped({"tales.txt": TALE})),
        ("stored.zip", zipped({"a/tales.txt": TALE}, zipfile.ZIP_STORED)),
        ("tales.tar", tarred({"./tales.txt": TALE})),
        ("tales.tar.gz", tarred({"tales.txt": TALE}, "w:gz")),
        ("tales.tar.xz", tarred({"tales.txt": TALE}, "w:xz")),
        ("tales.tar.bz2", tarred({"tales.txt": TALE}, "w:bz2")),
        ("tales.tar.zst", zstd.compress(tarred({"tales.txt": TALE}))),
        ("gnu.tar", tarred({"f" * 200: TALE}, tar_format=tarfile.GNU_FORMAT)),
        ("v7.tar", v7_tar("tales.txt", TALE)),
        ("folders.tar", tarred({**{f"folder{n}/empty": b"" for n in range(300)}, "a.txt": TALE})),
        ("long-member-name.tgz", tarred({"f" * 200 + ".txt": TALE}, "w:gz")),
        ("an-archive-without-its-extension.txt", zipped({"tales.txt": TALE})),
        ("not-an-archive-at-all.zip", TALE),
        ("one-text-alone-called-test.zip", zipped({"test.txt": TALE})),
        ("utf-16-with-a-mark.txt", tale().encode("utf-16")),
        ("utf-32-with-a-mark.txt", tale().encode("utf-32")),
        ("utf-16-big-endian.txt", tale().encode("utf-16-be")),
        ("utf-16.txt.gz", gzip.compress(tale().encode("utf-16-le"))),
    ],
)  # fmt: skip
def test_one_text_is_read_however_it_is_packed(name: str, packed: bytes) -> None:
    corpus = prepared({name: packed})
    assert corpus.text == tale()
    assert [text.count("\n") for text in corpus.splits.values()] == [180, 10, 10]


@pytest.mark.parametrize("pack", [zipped, lambda files: tarred(files, "w:gz")])
def test_an_archive_counts_as_the_texts_in_it(pack: Callable[[Mapping[str, bytes]], bytes]) -> None:
    files = {
        "book/02.txt": tale(20).encode(),
        "book/01.txt": tale(30).encode().rstrip(),
        "book/empty.txt": b"",
        "README.md": b"read me\n",
        "book/.hidden.txt": b"hidden\n",
        "__MACOSX/book/._01.txt": b"\0\x05\x16\x07",
        "cover.png": b"\x89PNG\r\n\x1a\n\0",
        "more.tar.gz": tarred({"b.txt": TALE}, "w:gz"),
        "latin.txt": "Käse und Brot, für die Bäume. ".encode("cp1252") * 50,
        "letter.odt": zipped({"mimetype": b"application/vnd.oasis.opendocument.text"}, zipfile.ZIP_STORED),
    }
    corpus = prepared({"book.zip": pack(files), "z.txt": tale(40)})
    assert corpus.files == ["book.zip/book/02.txt", "book.zip/book/01.txt", "z.txt"]
    assert corpus.train.startswith("".join(tale(20).splitlines(True)[:18]))
    reasons = {
        "book/empty.txt": "empty",
        "README.md": "about the corpus",
        "book/.hidden.txt": "hidden",
        "__MACOSX/book/._01.txt": "hidden",
        "cover.png": "a PNG image",
        "more.tar.gz": "packed \\(gzip\\) within an archive",
        "latin.txt": "iconv -f CP1252 -t UTF-8",
        "letter.odt": "an OpenDocument file",
    }
    assert list(corpus.left_out) == [f"book.zip/{name}" for name in sorted(reasons)]
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=reason):
            raise ValueError(corpus.left_out[f"book.zip/{name}"])


NOT_TEXT: dict[str, tuple[bytes, str]] = {
    "paper.pdf": (b"%PDF-1.7\n" + TALE, "It is a PDF.*plain text in UTF-8"),
    "old.doc": (b"\xd0\xcf\x11\xe0" + TALE, "old Office document"),
    "letter.rtf": (b"{\\rtf1 " + TALE, "RTF"),
    "tales.docx": (zipped({"[Content_Types].xml": b"<x/>", "word/document.xml": TALE}), "Office document"),
    "packed.docx.gz": (
        gzip.compress(zipped({"[Content_Types].xml": b"<x/>"})),
        "zip within gzip",
    ),
    "novel.odt": (
        zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"<p/>"}),
        "OpenDocument",
    ),
    "novel.epub": (zipped({"META-INF/container.xml": b"<x/>", "a.html": TALE}), r"e-book \(EPUB\)"),
    "novel.mobi": (bytes(60) + b"BOOKMOBI" + TALE, "MOBI"),
    "page.html": (b"<!DOCTYPE html>\n<p>" + TALE, "markup"),
    "page.txt": (b"\n<!-- saved -->\n<html><body>" + TALE, "markup"),
    "page.php": (b"<?xml version='1.0'?>" + TALE, "markup"),
    "page.htm.gz": (gzip.compress(TALE), "markup"),
    "rows.csv": (b"id,text\n" + TALE, "table.*column with the text.*field text"),
    "rows.TSV.gz": (gzip.compress(TALE), "table"),
    "sums": (b"%032x  part-00000.txt\n" % 7 * 3, "checksums"),
    "tales.7z": (b"7z\xbc\xaf\x27\x1c" + TALE, "packed as 7z.*zip"),
    "tales.rar": (b"Rar!\x1a\x07" + TALE, "RAR"),
    "tales.lz4": (b"\x04\x22\x4d\x18" + TALE, "lz4"),
    "tales.Z": (b"\x1f\x9d" + TALE, r"\.Z"),
    "tales.br": (b"\x8b\x02\x80" + TALE, "Brotli"),
    "data.parquet": (b"PAR1" + TALE, "Parquet"),
    "song.mp3": (b"ID3\x04\0" + bytes(range(256)), "audio"),
    "nul.txt": (TALE + b"\0" + TALE, f"NUL character near byte {len(TALE):,}"),
    "random.bin": (bytes(range(256)) * 40, "binary"),
    "numbers.bin": (b"".join(n.to_bytes(4, "little") for n in range(2000)), "NUL|binary"),
}


@pytest.mark.parametrize("name", NOT_TEXT)
def test_what_is_no_text_is_left_out_with_what_to_do(name: str) -> None:
    data, reason = NOT_TEXT[name]
    entry = left_out(name, data)
    with pytest.raises(ValueError, match=reason):
        raise ValueError(entry.reason)
    assert issubclass(getattr(errors, entry.error), errors.InvalidDataset)
    with pytest.raises(
        getattr(errors, entry.error), match=r"no text to train on under uploads/tales/\. "
    ) as failure:
        prepared({name: data})
    assert f"{name}: {entry.reason}" in str(failure.value)


@pytest.mark.parametrize(
    ("name", "packed", "note"),
    [
        ("a.gz", gzip.compress(TALE) + b"\r\n", "after the end of its gzip data was ignored: 2 bytes."),
        ("a.bz2", bz2.compress(TALE) + b"junk", "its bzip2 data was ignored: 4 bytes."),
        ("a.xz", lzma.compress(TALE) + b"junk", "4 bytes"),
        ("a.zst", zstd.compress(TALE) + b"junk" * 99, "396 bytes"),
        ("no-end.tar", tarred({"a": TALE})[:TAR_END], "no end mark"),
        ("no-padding.tar", tarred({"a": TALE})[: 512 + len(TALE)], "no end mark"),
        ("no-end.tgz", gzip.compress(tarred({"a": TALE})[:TAR_END]) + b"\n", "no end mark"),
        ("after-the-end.tar", tarred({"a": TALE}) + b"junk", "after the end of the tar"),
    ],
)
def test_what_unpackers_tolerate_is_read_with_a_note(name: str, packed: bytes, note: str) -> None:
    corpus = prepared({name: packed})
    assert corpus.text == tale()
    (notes,) = corpus.notes.values()
    assert note in " ".join(notes)


# --- JSON Lines

TEXTS = ["One line.", "Two lines:\r\nthe second.", "Ein Käse, 王様, 😀\u2028end\n", "", "  "]
RECORDS = "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(TEXTS * 20))
JSON_TEXT = "One line.\nTwo lines:\nthe second.\nEin Käse, 王様, 😀\nend\n  \n" * 20


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", RECORDS.encode()),
        ("a.json", RECORDS.encode()),
        ("part-00000", RECORDS.rstrip().encode()),
        ("a.jsonl.zst", zstd.compress(RECORDS.encode())),
        ("a.ndjson.gz", gzip.compress(RECORDS.replace("\n", "\r\n").encode())),
        ("a.zip", zipped({"b/a.jsonl": RECORDS.encode()})),
        ("utf-16.jsonl", RECORDS.encode("utf-16")),
    ],
)
def test_the_text_fields_of_json_lines_are_the_text(name: str, data: bytes) -> None:
    assert prepared({name: data}).text == JSON_TEXT


def test_records_without_text_are_counted() -> None:
    corpus = prepared({"a.jsonl": RECORDS + '{"id": 1}\n{"text": null}\n'})
    assert corpus.text == JSON_TEXT
    assert corpus.notes == {"a.jsonl": ["2 of its 102 records have no field text and were left out."]}


def test_characters_that_are_none_do_not_get_into_the_text() -> None:
    corpus = prepared({"a.jsonl": '{"text": "a \\ud800 b \\u0000 c \\ud83d\\ude00"}\n' * 20})
    assert corpus.text == "a \ufffd b \ufffd c 😀\n" * 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ('{"id": 1, "body": "words"}\n', r"without the field text \(it has: id, body\)"),
        (RECORDS + '{"text": "cut o', r"Line 101 is not JSON.*one object a line"),
        ('{\n  "text": "words"\n}\n', "Line 1 is not JSON"),
        ('[{"text": "words"}]\n', "Line 1 is JSON, but no object"),
        ("[" * 100_000, "Line 1 is not JSON"),
    ],
)
def test_other_json_is_left_out(data: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        raise ValueError(left_out("a.json", data).reason)


def test_a_line_of_json_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploads.json_lines.LONGEST_RECORD", 100_000)
    long = json.dumps({"text": "word " * 200_000})
    assert "more than 100,000 bytes" in left_out("a.jsonl", long).reason


# --- time


def test_an_object_that_takes_too_long_is_left_out() -> None:
    result = read({"a.gz": gzip.compress(TALE)}, seconds=-1)
    (entry,) = result.results[0].left_out
    assert entry.error == "DatasetTooLarge"
    assert "Upload it in parts, or unpacked" in entry.reason
    with pytest.raises(errors.DatasetTooLarge, match=r"a\.gz: It takes longer to read than"):
        result.corpus()
