"""Prepare refuses bad datasets with an error and a sentence for each kind, and leaves nothing behind."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping

import pytest

from core import errors
from steps import prepare
from tests.unit.pipeline.uploads.prepare_step import PrepareStep, tale, tarred, zipped
from uploads import archives, decompression, object_reader

TALE = tale().encode()
BOMB = b"a b c d e f g\n" * 5_000_000  # more than RATIO_FREE
TAR_END = 512 + len(TALE) + -len(TALE) % 512  # where the only member of a tar of TALE ends


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
    """Return the bytes with the one in the middle inverted."""
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


def special(type_: bytes, name: str = "a.txt", linkname: str = "") -> bytes:
    """Return a tar with a member that is no file."""
    return tarred({name: b""}, type=type_, linkname=linkname)


def hungry() -> bytes:
    lzma2 = {"id": lzma.FILTER_LZMA2, "dict_size": 256 * 1024**2, "preset": 0}
    return lzma.compress(TALE, filters=[lzma2])


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
UTF16 = tale().encode("utf-16")
DOCUMENT = {"[Content_Types].xml": b"<x/>", "word/document.xml": TALE}
TWO_SETS = {f"{folder}/{split}": TALE for folder in "ab" for split in ("train", "valid", "test")}
TWO_VALIDS = dict.fromkeys(("train.txt", "val.txt", "valid.txt", "test.txt"), TALE)

REFUSALS: dict[str, tuple[bytes, type[errors.InvalidDataset], str]] = {
    "empty.txt": (b"", errors.DatasetEmpty, "is empty"),
    "blank.txt": (b" \n\r\n\t\n", errors.DatasetEmpty, "no words"),
    "bom.txt": (b"\xef\xbb\xbf", errors.DatasetEmpty, "no words"),
    "empty.txt.gz": (gzip.compress(b""), errors.DatasetEmpty, "no words"),
    "paper.pdf": (b"%PDF-1.7\n" + TALE, errors.DatasetNotText, "a PDF"),
    "tales.docx": (zipped(DOCUMENT), errors.DatasetNotText, "a document"),
    "nul.txt": (TALE + b"\0" + TALE, errors.DatasetNotText, f"NUL byte at offset {len(TALE)}"),
    "tales.7z": (b"7z\xbc\xaf\x27\x1c" + TALE, errors.DatasetNotText, "7z"),
    "latin1.txt": (TALE + b"K\xe4se", errors.DatasetNotUtf8, f"0xE4 at byte offset {len(TALE) + 1}"),
    "cut.txt": (TALE + b"\xe7\x8e", errors.DatasetNotUtf8, f"byte offset {len(TALE)}"),
    "utf16.txt": (UTF16, errors.DatasetNotUtf8, "UTF-16 at byte offset 0.*iconv -f UTF-16"),
    "latin1.zip": (
        zipped({"a.txt": TALE, "b/c.txt": b"abc\xff"}),
        errors.DatasetNotUtf8,
        r"member 'b/c\.txt', .*byte 0xFF at byte offset 3",
    ),
    "few-words.txt": (tale(80).encode(), errors.DatasetTooSmall, "720 words in all; at least 790"),
    "one-line.txt": (b"word " * 5000, errors.DatasetTooSmall, "0 words for valid.*between lines"),
    "short-end.txt": (TALE + b"a\n" * 180, errors.DatasetTooSmall, "19 words for valid; at least 35"),
    "images.zip": (zipped({"a.png": b"\0\0", "b.png": b"\0"}), errors.ArchiveHasNoCorpus, "only 'a.png'"),
    "only-a-readme.tar.xz": (tarred({"README": TALE}, "w:xz"), errors.ArchiveHasNoCorpus, "no text file"),
    "nothing.zip": (zipped({}), errors.ArchiveHasNoCorpus, "no text file"),
    "two-sets.zip": (zipped(TWO_SETS), errors.ArchiveHasNoCorpus, "one set.*'a/train' and 'b/train'"),
    "two-valids.zip": (zipped(TWO_VALIDS), errors.ArchiveHasNoCorpus, "valid: 'val.txt' and 'valid.txt'"),
    "no-valid.zip": (zipped({"train": TALE, "test": TALE}), errors.SplitIncomplete, "without valid"),
    "dots.zip": (zipped({"../evil.txt": TALE}), errors.ArchiveUnsafe, r"outside its folder: '\.\./evil"),
    "absolute.zip": (zipped({"/etc/evil.txt": TALE}), errors.ArchiveUnsafe, "'/etc/evil.txt'"),
    "windows.zip": (zipped({"..\\evil.txt": TALE}), errors.ArchiveUnsafe, "evil"),
    "drive.zip": (zipped({"C:/evil.txt": TALE}), errors.ArchiveUnsafe, "evil"),
    "link.zip": (zip_with_link(), errors.ArchiveUnsafe, "a link or a device"),
    "pax-dots.tar": (tarred({"../" + "e" * 200: TALE}), errors.ArchiveUnsafe, "outside"),
    "symlink.tar": (special(tarfile.SYMTYPE, linkname="/etc/passwd"), errors.ArchiveUnsafe, "a link"),
    "hardlink.tar": (special(tarfile.LNKTYPE, linkname="../b"), errors.ArchiveUnsafe, "a link"),
    "device.tar": (special(tarfile.CHRTYPE), errors.ArchiveUnsafe, "neither a file"),
    "sparse.tar": (tarred({"a": b"0\n" + TALE}, pax_headers=SPARSE), errors.ArchiveUnsafe, "with holes"),
    "gnu-sparse.tar": (special(tarfile.GNUTYPE_SPARSE), errors.ArchiveUnsafe, "with holes"),
    "encrypted.zip": (encrypted(), errors.ArchiveEncrypted, "encrypted.*'tales.txt'"),
    "nested.zip": (
        zipped({"a.txt": TALE, "more.tar.gz": tarred({"b.txt": TALE}, "w:gz")}),
        errors.ArchiveNested,
        "another archive: 'more.tar.gz'",
    ),
    "nested.tar.gz": (tarred({"all.zip": zipped({"b": TALE})}, "w:gz"), errors.ArchiveNested, "all.zip"),
    "twice.gz": (gzip.compress(gzip.compress(TALE)), errors.ArchiveNested, "gzip within gzip"),
    "bomb.txt.gz": (gzip.compress(BOMB), errors.ArchiveTooLarge, "200 times"),
    "bomb.tar.xz": (lzma.compress(tarred({"a": BOMB}), preset=0), errors.ArchiveTooLarge, "200 times"),
    "bomb.zip": (zipped({"a.txt": BOMB}), errors.ArchiveTooLarge, "200 times"),
    "hungry.txt.xz": (hungry(), errors.ArchiveTooLarge, "128 MiB of memory"),
    "lzma.zip": (zipped({"a.txt": TALE}, zipfile.ZIP_LZMA), errors.ArchiveCorrupt, "method 14"),
    "short.txt.gz": (gzip.compress(TALE)[:-20], errors.ArchiveCorrupt, "ends early"),
    "broken.txt.gz": (broken(gzip.compress(TALE)), errors.ArchiveCorrupt, "does not unpack as gzip"),
    "trailing.txt.gz": (gzip.compress(TALE) + b"junk", errors.ArchiveCorrupt, "as gzip"),
    "trailing.txt.bz2": (bz2.compress(TALE) + b"junk", errors.ArchiveCorrupt, "as bzip2"),
    "trailing.txt.xz": (lzma.compress(TALE) + b"junk", errors.ArchiveCorrupt, "as xz"),
    "short.tar.xz": (tarred({"a": TALE}, "w:xz")[:-40], errors.ArchiveCorrupt, "ends early"),
    "no-end.tar": (tarred({"a": TALE})[:TAR_END], errors.ArchiveCorrupt, "ends early"),
    "short.tar": (tarred({"a": TALE})[: 512 + len(TALE) // 2], errors.ArchiveCorrupt, "ends early"),
    "bad-header.tar": (tarred({"a": TALE})[:TAR_END] + b"x" * 2048, errors.ArchiveCorrupt, "damaged header"),
    "short.zip": (zipped({"a.txt": TALE})[:-30], errors.ArchiveCorrupt, "as zip"),
    "broken.zip": (broken(zipped({"a.txt": TALE})), errors.ArchiveCorrupt, "as zip"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_dataset_is_refused_with_a_sentence_that_names_it(step: PrepareStep, name: str) -> None:
    data, error, message = REFUSALS[name]
    step.put(name, data)
    with pytest.raises(error, match=message) as refusal:
        step.run()
    assert refusal.type is error
    assert f"s3://lexline-test/uploads/tales/{name}" in str(refusal.value)
    assert step.s3.traces() == []


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_the_number_of_members_is_bounded(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    step.put("a", pack({f"{number}.txt": b"x" for number in range(11)}))
    with pytest.raises(errors.ArchiveTooLarge, match="more than 10 members"):
        step.run()


def test_the_directory_of_a_zip_is_bounded(step: PrepareStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_reader, "LONGEST_READ", decompression.CHUNK)
    step.put("a.zip", zipped({f"{number:0999}.txt": b"x" for number in range(100)}))
    with pytest.raises(errors.ArchiveTooLarge, match="more than 10,000 members"):
        step.run()


def long_header() -> bytes:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5 * 1024**3
    return header.tobuf(tarfile.GNU_FORMAT) + TALE


@pytest.mark.parametrize(
    "tar",
    [
        long_header(),
        tarred({"a": TALE}, pax_headers={"comment": "x" * 100_000}),
        # A map of holes, which TarFile would read to its end.
        tarred({"a": b"9000000\n" + b"0\n" * 100_000}, pax_headers=SPARSE),
    ],
)
def test_the_headers_of_a_tar_are_bounded(step: PrepareStep, tar: bytes) -> None:
    step.put("a.tar", tar)
    with pytest.raises(errors.ArchiveCorrupt, match="header that is too long"):
        step.run()


NAME = "é/" * 10_000 + "a.txt"


@pytest.mark.parametrize(
    "packed",
    [
        zipped({NAME: TALE}),
        tarred({NAME: TALE}, tar_format=tarfile.GNU_FORMAT),
        tarred({NAME: TALE}, tar_format=tarfile.PAX_FORMAT),
    ],
)
def test_the_name_of_a_member_is_bounded(step: PrepareStep, packed: bytes) -> None:
    step.put("a", packed)
    with pytest.raises(errors.ArchiveUnsafe, match="at most 4,096 characters") as refusal:
        step.run()
    assert len(str(refusal.value)) < 1000


def test_the_size_of_the_text_is_bounded(step: PrepareStep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "LARGEST_CORPUS", len(TALE) - 1)
    step.put("tales.txt", TALE)
    with pytest.raises(errors.DatasetTooLarge, match=r"tales\.txt has .* bytes"):
        step.run()
    step.put("tales.zip", zipped({"a": TALE}))
    with pytest.raises(errors.ArchiveTooLarge, match=r"tales\.zip unpacks to too much"):
        step.run()
    step.put("tales.gz", gzip.compress(TALE))
    with pytest.raises(errors.ArchiveTooLarge, match=r"tales\.gz unpacks to too much"):
        step.run()


def test_prepare_gives_up_while_there_is_time_to_clean_up(
    step: PrepareStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    step.put("tales.txt", TALE)
    monkeypatch.setattr("uploads.archives.CHUNK", 100)
    step.s3.before["CreateMultipartUpload"] = lambda _: monkeypatch.setattr(prepare, "SECONDS", -1)
    with pytest.raises(errors.DatasetTooLarge, match=r"tales\.txt took more than"):
        step.run()
    assert step.s3.traces() == []


def test_the_words_needed_follow_from_batch_size_and_bptt(step: PrepareStep) -> None:
    step.put("tales.txt", TALE)
    step.run()
    with pytest.raises(
        errors.DatasetTooSmall, match=r"1,800 words in all; at least 3,670.*lower.*batch_size"
    ):
        step.run(batch_size=100)
    step.s3.put("uploads/tiny/tiny.txt", tale(30).encode())
    assert step.run("tiny", batch_size=2, bptt=5)["splits"]["train"]["lines"] == 28


def test_a_text_that_was_prepared_before_is_measured_against_the_needs_of_this_run(step: PrepareStep) -> None:
    for split, lines in {"train": 120, "valid": 30, "test": 40}.items():
        step.put(f"{split}.txt", tale(lines).encode())
    step.run()
    with pytest.raises(errors.DatasetTooSmall, match=r"valid\.txt gives 270 words for valid; at least 300"):
        step.run(batch_size=2, bptt=300)
