"""An archive that is damaged, encrypted or unsafe is left out as a whole, and its demands are bounded."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.pipeline.archives import tarred, zipped
from tests.unit.pipeline.uploads.dataset import Objects, left_out, prepared, tale
from uploads import blocks, compression, containers, items, object_reader, planning
from uploads.file_names import COMPRESSED

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TALE = tale().encode()
BOMB = b"a b c d e f g\n" * 200_000
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


def hungry_xz() -> bytes:
    lzma2 = {"id": lzma.FILTER_LZMA2, "dict_size": 256 * 1024**2, "preset": 0}
    return lzma.compress(TALE, filters=[lzma2])


def hungry_zstd() -> bytes:
    # A frame that says it has a window of 1 GiB, before its first block.
    return b"\x28\xb5\x2f\xfd\x00\xa0" + TALE


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}

REFUSALS: dict[str, tuple[bytes, str, str]] = {
    "empty.txt.gz": (gzip.compress(b""), "DatasetEmpty", "empty"),
    "blank.txt": (b" \n\r\n\t\n\xe3\x80\x80", "DatasetEmpty", "no words"),
    "bom.txt": (b"\xef\xbb\xbf", "DatasetEmpty", "no words"),
    "images.zip": (zipped({"a.png": b"\x89PNG\0"}), "ArchiveHasNoCorpus", "'a.png': It is a PNG image"),
    "about.tar.xz": (tarred({"README": TALE}, "w:xz"), "ArchiveHasNoCorpus", "'README': It is about"),
    "nothing.zip": (zipped({}), "ArchiveHasNoCorpus", "no file"),
    "nothing.tar": (tarred({}) , "ArchiveHasNoCorpus|DatasetNotText", "no file|NUL"),
    "dots.zip": (zipped({"../evil.txt": TALE}), "ArchiveUnsafe", r"outside its folder: '\.\./evil"),
    "absolute.zip": (zipped({"/etc/evil.txt": TALE}), "ArchiveUnsafe", "'/etc/evil.txt'"),
    "windows.zip": (zipped({"..\\evil.txt": TALE}), "ArchiveUnsafe", "evil"),
    "drive.zip": (zipped({"C:/evil.txt": TALE}), "ArchiveUnsafe", "evil"),
    "link.zip": (zip_with_link(), "ArchiveUnsafe", "a link or a device"),
    "after-a-text.tar": (tarred({"a": TALE, "../b": TALE}), "ArchiveUnsafe", "outside"),
    "pax-dots.tar": (tarred({"../" + "e" * 200: TALE}), "ArchiveUnsafe", "outside"),
    "symlink.tar": (special(tarfile.SYMTYPE, linkname="/etc/passwd"), "ArchiveUnsafe", "a link"),
    "hardlink.tar": (special(tarfile.LNKTYPE, linkname="../b"), "ArchiveUnsafe", "a link"),
    "device.tar": (special(tarfile.CHRTYPE), "ArchiveUnsafe", "neither a file"),
    "sparse.tar": (tarred({"a": b"0\n" + TALE}, pax_headers=SPARSE), "ArchiveUnsafe", "with holes"),
    "gnu-sparse.tar": (special(tarfile.GNUTYPE_SPARSE), "ArchiveUnsafe", "with holes"),
    "encrypted.zip": (encrypted(), "ArchiveEncrypted", "encrypted.*'tales.txt'"),
    "twice.gz": (gzip.compress(gzip.compress(TALE)), "ArchiveNested", "gzip within gzip"),
    "bomb.txt.gz": (gzip.compress(BOMB), "ArchiveTooLarge", "200 times"),
    "bomb.tar.xz": (lzma.compress(tarred({"a": BOMB}), preset=0), "ArchiveTooLarge", "200 times"),
    "bomb.zip": (zipped({"a.txt": BOMB}), "ArchiveTooLarge", "200 times"),
    "hungry.txt.xz": (hungry_xz(), "ArchiveTooLarge", "136 MiB of memory"),
    "hungry.txt.zst": (hungry_zstd(), "ArchiveTooLarge", "136 MiB of memory"),
    "lzma.zip": (zipped({"a.txt": TALE}, zipfile.ZIP_LZMA), "ArchiveCorrupt", "method 14"),
    "broken-second.gz": (gzip.compress(TALE) + broken(gzip.compress(TALE)), "ArchiveCorrupt", "as gzip"),
    "short.tar.xz": (tarred({"a": TALE}, "w:xz")[:-40], "ArchiveCorrupt", "ends early"),
    "short.tar": (tarred({"a": TALE})[: 512 + len(TALE) // 2], "ArchiveCorrupt", "ends early"),
    "short-skipped.tar": (tarred({"b": TALE, ".a": TALE})[: -len(TALE)], "ArchiveCorrupt", "unexpected end"),
    "short-header.tar": (tarred({"a": TALE})[:TAR_END] + b"x" * 20, "ArchiveCorrupt", "ends early"),
    "bad-header.tar": (tarred({"a": TALE})[:TAR_END] + b"x" * 2048, "ArchiveCorrupt", "damaged header"),
    "short.zip": (zipped({"a.txt": TALE})[:-30], "ArchiveCorrupt", "as zip"),
    "broken.zip": (broken(zipped({"a.txt": TALE, "b.txt": TALE})), "ArchiveCorrupt", "as zip"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_an_object_is_left_out_as_a_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "RATIO_FREE", len(BOMB) // 2)
    data, error, reason = REFUSALS[name]
    entry = left_out(name, data)
    assert entry.error in error.split("|")
    with pytest.raises(ValueError, match=reason):
        raise ValueError(entry.reason)


def zstd_with_checksum(data: bytes) -> bytes:
    """Compress as the program zstd does. Without a checksum, a wrong byte may be text like any other."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd_with_checksum,
}  # fmt: skip


def test_there_is_an_ending_for_each_compression() -> None:
    """The order of both tables is the same, and an ending is short for its compression's name."""
    pairs = list(zip(COMPRESSED, compression.COMPRESSIONS, strict=True))
    assert pairs == [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz"), ("zst", "zstd")]


@pytest.mark.parametrize("name", compression.COMPRESSIONS)
def test_every_compression_is_read_and_its_damage_and_its_bombs_are_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "RATIO_FREE", len(BOMB) // 2)
    pack = PACKERS[name]
    assert prepared({"a": pack(TALE[:500]) + pack(TALE[500:])}).text == tale()
    for data, error, reason in (
        (pack(BOMB), "ArchiveTooLarge", "200 times"),
        (pack(TALE)[:-20], "ArchiveCorrupt", "ends early"),
        (broken(pack(TALE)), "ArchiveCorrupt", f"does not unpack as {name}"),
        (pack(b""), "DatasetEmpty", "empty"),
    ):
        entry = left_out("a", data)
        assert entry.error == error
        assert reason in entry.reason


@pytest.mark.parametrize("number", range(16))
def test_a_file_may_begin_with_any_of_zstds_skippable_frames(number: int) -> None:
    frame = bytes([0x50 + number]) + b"\x2a\x4d\x18\x01\0\0\0x"
    assert prepared({"a": frame + zstd.compress(TALE)}).text == tale()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_the_number_of_members_is_bounded(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    monkeypatch.setattr(containers, "MOST_MEMBERS", 10)
    entry = left_out("a", pack({f"{number}.txt": b"x" for number in range(11)}))
    assert entry.error == "ArchiveTooLarge"
    assert "more than 10 members" in entry.reason


def test_the_directory_of_a_zip_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_reader, "LONGEST_READ", 64 * 1024)
    monkeypatch.setattr(compression, "CHUNK", 64 * 1024)
    monkeypatch.setattr(containers, "CHUNK", 64 * 1024)
    entry = left_out("a.zip", zipped({f"{number:0999}.txt": b"x" for number in range(100)}))
    assert "more than 10,000 members" in entry.reason


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
def test_the_headers_of_a_tar_are_bounded(tar: bytes) -> None:
    assert "header that is too long" in left_out("a.tar", tar).reason


NAME = "é/" * 10_000 + "a.txt"


@pytest.mark.parametrize(
    "packed",
    [
        zipped({NAME: TALE}),
        tarred({NAME: TALE}, tar_format=tarfile.GNU_FORMAT),
        tarred({NAME: TALE}, tar_format=tarfile.PAX_FORMAT),
    ],
)
def test_the_name_of_a_member_is_bounded(packed: bytes) -> None:
    entry = left_out("a", packed)
    assert "at most 4,096 characters" in entry.reason
    assert len(entry.reason) < 1000


@pytest.mark.parametrize("pack", [gzip.compress, lambda text: tarred({"a": text})])
def test_a_large_packed_text_needs_the_memory_of_a_block(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_reader, "LARGEST_RANGE", 64 * 1024)
    monkeypatch.setattr(blocks, "BLOCK", 256 * 1024)
    objects = Objects({"a": pack(TALE * 1000)})
    s3 = cast("S3Client", objects)
    plan = planning.plan(s3, "bucket", "tales", objects.listed())
    written: list[int] = []
    tracemalloc.start()
    items.read(s3, "bucket", "tales", plan.items[0], lambda text: written.append(len(text)), 600)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(written) == len(TALE) * 1000 > 7 * 1024**2
    assert peak < 5 * 1024**2


# --- damage anywhere

TEXT = tale(50).encode()
FILES = {"a.txt": TEXT, "b/" + "long" * 40: TEXT[:300]}
PACKED = {
    "zip": zipped(FILES),
    "tar": tarred(FILES),
    "tar.gz": tarred(FILES, "w:gz"),
    "tar.xz": tarred(FILES, "w:xz"),
    "tar.zst": zstd.compress(tarred(FILES)),
    "gz": gzip.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "zst": zstd.compress(TEXT),
}
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),  # the place of the edit
        st.integers(0, 40),  # how many bytes are deleted there
        st.binary(max_size=4) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"PK\x01\x02"]),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("kind", PACKED)
@settings(max_examples=40, deadline=None)
@given(edits=EDITS)
def test_damage_leaves_the_object_out_or_gives_text(kind: str, edits: list[tuple[float, int, bytes]]) -> None:
    data = bytearray(PACKED[kind])
    for place, deleted, new in edits:
        start = int(place * len(data))
        data[start : start + deleted] = new
    corpus = prepared({f"damaged.{kind}": bytes(data) or b"x", "z.txt": tale()})
    assert any("damaged" in name for name in (*corpus.files, *corpus.left_out))
    assert "z.txt" in corpus.files


def test_a_zip_member_without_a_name_is_read() -> None:
    data = bytearray(zipped({"a": TALE}))
    directory = data.index(b"PK\x01\x02")
    # The name's length, 1, becomes 0 in both headers and the name an extra byte of the directory's entry.
    data[26] = data[directory + 28] = 0
    data[28] = data[directory + 30] = 1
    assert prepared({"a.zip": bytes(data)}).text == tale()
