"""Reading uploaded files of text, packed or not, without unpacking anything to disk.

What a file is, its first bytes say; its name is not asked. A container is one of three: a plain text
(perhaps compressed), a tar (perhaps compressed), or a zip. Each lists its members, checked, and then reads
the chosen ones in the order asked for, in chunks, as often as needed.

Everything a hostile archive can lie about is bounded: the number of members, the length of headers, the
memory a decompressor may take, and how much comes out, in total and for each byte that went in. Nothing is
ever written under a member's name; paths that leave the archive, links and devices are refused all the
same, because an archive that has them is not what its owner thinks it is.
"""

from __future__ import annotations

import bz2
import codecs
import itertools
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Literal, Protocol, cast

from core.errors import (
    ArchiveCorrupt,
    ArchiveEncrypted,
    ArchiveNested,
    ArchiveTooLarge,
    ArchiveUnsafe,
    DatasetNotText,
    DatasetTooLarge,
)
from object_reader import ObjectReader, ReadTooLong

CHUNK = 1024 * 1024
# What a function's 15 minutes are enough for, by benchmarks/prepare_1gib.py, also if it comes as .tar.xz.
LARGEST_CORPUS = 4 * 1024**3
# Text packs 3 to 10 times smaller, very repetitive text 100 times; deflate's bombs start at 1,000. What
# unpacks to little is let through: a small file may well be one line repeated.
LARGEST_RATIO = 200
RATIO_FREE = 64 * 1024**2
MOST_MEMBERS = 10_000
LONGEST_HEADER = 64 * 1024
LONGEST_PATH = 4096  # Linux's PATH_MAX
# `xz -9` needs 65 MiB to unpack; a dictionary may ask for 4 GiB.
DECOMPRESSOR_MEMORY = 128 * 1024**2
# A tar's members that are wanted in another order than the archive has them are held in memory, this much
# at a time.
HELD = 256 * 1024**2
FEED = 256 * 1024
_HEAD = 4096
_BLOCK = 512

_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    **{f"BZh{level}1AY&SY".encode(): "bzip2" for level in range(1, 10)},
}
_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x28\xb5\x2f\xfd": "zstd",
}
# Kinds that people upload by mistake and that may hold no NUL byte near their start.
_BINARIES = {
    b"%PDF-": "a PDF",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"{\\rtf": "an RTF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
}


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Member:
    """A file of a container.

    `position` is its place in the archive, `content` what its first bytes look like.
    """

    path: str
    size: int
    position: int
    content: Literal["text", "binary", "archive"]


class Container(Protocol):
    """`where` names it in errors. Of an archive, somebody has to choose the members to read."""

    where: str
    is_archive: bool

    def members(self) -> list[Member]:
        """Every non-empty file in it. Raises an Archive... error for what must not be read."""

    def read(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """The bytes of the wanted members, in that order. Finish a member's chunks before the next one."""


def open_container(source: ObjectReader) -> Container:
    """What kind of container the object is.

    Raises DatasetNotText for a kind that is not read, ArchiveNested for an archive in a compressed file,
    DatasetTooLarge for an object beyond LARGEST_CORPUS.
    """
    if source.size > LARGEST_CORPUS:
        raise DatasetTooLarge(f"{source.uri} has {source.size:,} bytes; {_AT_MOST}. Upload a part of it.")
    head = _head(source)
    archive = _starting(_ARCHIVES, head)
    if archive == "zip":
        return _Zip(source)
    compression = _starting(_COMPRESSIONS, head)

    def unpacked() -> Readable:
        source.seek(0)
        return _Decompressed(source, compression) if compression else source

    if compression:
        head = _exactly(unpacked(), _HEAD)
        archive = _starting(_ARCHIVES | _COMPRESSIONS, head)
        if archive:
            raise ArchiveNested(
                f"{source.uri} is {archive} within {compression}; upload the {archive} file itself."
            )
    if _is_tar(head):
        return _Tar(source.uri, unpacked)
    kind = archive or _starting(_BINARIES, head)
    if kind:
        raise DatasetNotText(
            f"{source.uri} is not text but {kind}. Upload plain text in UTF-8, or a .gz, .zip, .tar.gz or "
            ".tar.xz of it."
        )
    return _PlainText(source, unpacked)


_AT_MOST = f"at most {LARGEST_CORPUS // 1024**3} GiB of text are prepared in one run"


def _starting(kinds: dict[bytes, str], head: bytes) -> str:
    return next((kind for magic, kind in kinds.items() if head.startswith(magic)), "")


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _head(source: ObjectReader) -> bytes:
    source.seek(0)
    return source.read(_HEAD)


def _content(head: bytes) -> Literal["text", "binary", "archive"]:
    if _starting(_ARCHIVES | _COMPRESSIONS, head) or _is_tar(head):
        return "archive"
    # UTF-16 is text in the wrong encoding, and must fail as that instead of being passed over.
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "text"
    return "binary" if b"\0" in head or _starting(_BINARIES, head) else "text"


def _exactly(stream: Readable, size: int) -> bytes:
    """`size` bytes, or fewer at the end of the stream."""
    pieces = []
    while size and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _chunks(stream: Readable) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _safe_path(name: str, where: str) -> str:
    """A member's path with forward slashes and no leading `./`.

    Raises ArchiveUnsafe for one that leaves the archive, or that no file could have.
    """
    if len(name) > LONGEST_PATH:
        raise ArchiveUnsafe(
            f"{where} has a member with a name of {len(name):,} characters, {_shown(name)}; at most "
            f"{LONGEST_PATH:,} characters are read. Pack the text files under shorter names."
        )
    path = name.replace("\\", "/")
    if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in path.split("/"):
        raise ArchiveUnsafe(
            f"{where} has a member that would be written outside its folder: {_shown(name)}. Pack the "
            "text files anew, with relative paths."
        )
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _shown(name: str) -> str:
    return repr(name if len(name) <= 200 else name[:199] + "…")


def _not_a_file(name: str, kind: str, where: str) -> ArchiveUnsafe:
    return ArchiveUnsafe(
        f"{where} has a member that is {kind}: {_shown(name)}. Pack only the text files themselves."
    )


def _too_many(where: str) -> ArchiveTooLarge:
    return ArchiveTooLarge(
        f"{where} has more than {MOST_MEMBERS:,} members. Join the texts into fewer files and pack those."
    )


class _Budget:
    """How much may come out of an archive of `packed` bytes."""

    def __init__(self, packed: int, where: str) -> None:
        self._packed = packed
        self._where = where
        self._spent = 0

    def spend(self, size: int) -> None:
        self._spent += size
        if self._spent > LARGEST_CORPUS:
            raise ArchiveTooLarge(f"{self._where} unpacks to too much: {_AT_MOST}. Upload a part of it.")
        if self._spent > max(RATIO_FREE, LARGEST_RATIO * self._packed):
            raise ArchiveTooLarge(
                f"{self._where} unpacks to more than {LARGEST_RATIO} times its {self._packed:,} bytes, as "
                "an archive bomb does and text does not. If it is text, upload it uncompressed."
            )


class _PlainText:
    """One text file that fills the whole object."""

    is_archive = False

    def __init__(self, source: ObjectReader, unpacked: Callable[[], Readable]) -> None:
        self.where = source.uri
        self._unpacked = unpacked
        self._only = Member(source.key, source.size, 0, "text")

    def members(self) -> list[Member]:
        return [self._only]

    def read(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Iterator[bytes]]]:
        for member in wanted:
            yield member, _chunks(self._unpacked())


# --- compressed streams --------------------------------------------------------------------------


class _Gunzip:
    """zlib's decompressor with the interface that bz2's and lzma's have."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # 31: a gzip header and checksum are expected
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


def _decompressor(compression: str) -> _Gunzip | bz2.BZ2Decompressor | lzma.LZMADecompressor:
    if compression == "gzip":
        return _Gunzip()
    if compression == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DECOMPRESSOR_MEMORY)


class _Decompressed:
    """What comes out of a gzip, xz or bzip2 file, also one of several streams; checksums are verified."""

    def __init__(self, source: ObjectReader, compression: str) -> None:
        self._source = source
        self._compression = compression
        self._where = source.uri
        self._budget = _Budget(source.size, source.uri)
        self._decompressor = _decompressor(compression)

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        while True:
            try:
                out = self._step(size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                if "limit exceeded" in str(error).lower():
                    raise ArchiveTooLarge(
                        f"{self._where} needs more than {DECOMPRESSOR_MEMORY // 1024**2} MiB of memory to "
                        "unpack. Compress it with plain `xz -6`."
                    ) from error
                raise ArchiveCorrupt(
                    f"{self._where} does not unpack as {self._compression} ({error}). Pack and upload it "
                    "again."
                ) from error
            if out is None:
                return b""
            if out:
                self._budget.spend(len(out))
                return out

    def _step(self, size: int) -> bytes | None:
        """Some output, perhaps empty; None at the end of the last stream."""
        decompressor = self._decompressor
        if decompressor.eof:
            rest = decompressor.unused_data.lstrip(b"\0")  # padding between and after streams
            while not rest:
                data = self._source.read(FEED)
                if not data:
                    return None
                rest = data.lstrip(b"\0")
            self._decompressor = decompressor = _decompressor(self._compression)
            return decompressor.decompress(rest, size)
        if not decompressor.needs_input:
            return decompressor.decompress(b"", size)
        data = self._source.read(FEED)
        if not data:
            raise EOFError("it ends early")
        return decompressor.decompress(data, size)


# --- tar -----------------------------------------------------------------------------------------


class _TarData:
    """The data of the member at which a tar stream stands, and the padding to the next header."""

    def __init__(self, stream: Readable, size: int, where: str) -> None:
        self._stream = stream
        self._left = size
        self._padding = -size % _BLOCK
        self._where = where

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(min(size, self._left)) if self._left else b""
        if self._left and not data:
            raise _tar_ends_early(self._where)
        self._left -= len(data)
        return data

    def finish(self) -> None:
        for _ in _chunks(self):
            pass
        if len(_exactly(self._stream, self._padding)) < self._padding:
            raise _tar_ends_early(self._where)


def _tar_ends_early(where: str) -> ArchiveCorrupt:
    return ArchiveCorrupt(f"{where} does not unpack as tar (it ends early). Pack and upload it again.")


class _Tar:
    """A tar stream. It has no directory, so each look at it is a pass from its start.

    The standard library's TarFile is not used beyond parsing a header block: reading a stream, it takes a
    damaged header for the archive's end, and it lets a header of any length into memory.
    """

    is_archive = True

    def __init__(self, where: str, unpacked: Callable[[], Readable]) -> None:
        self.where = where
        self._unpacked = unpacked

    def members(self) -> list[Member]:
        found = []
        for position, (path, size, data) in enumerate(self._files()):
            if size:
                found.append(Member(path, size, position, _content(_exactly(data, _HEAD))))
        return found

    def read(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Iterator[bytes]]]:
        for batch in _batches(wanted):
            if _ascending(batch):
                for member, data in self._data(batch):
                    yield member, _chunks(data)
            else:
                held = {m.position: list(_chunks(data)) for m, data in self._data(batch)}
                for member in batch:
                    yield member, iter(held.pop(member.position))

    def _data(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, _TarData]]:
        """One pass over the archive, as far as the last of the wanted members."""
        sought = {member.position: member for member in wanted}
        for position, (_, _, data) in enumerate(self._files()):
            if position in sought:
                yield sought.pop(position), data
                if not sought:
                    return

    def _files(self) -> Iterator[tuple[str, int, _TarData]]:
        """Path, size and data of each regular file. Raises for any member that must not be there."""
        stream = self._unpacked()
        long_name: str | None = None
        records: dict[str, str] = {}
        seen = 0
        while True:
            block = _exactly(stream, _BLOCK)
            if len(block) < _BLOCK:
                raise _tar_ends_early(self.where)
            if not block.strip(b"\0"):
                for _ in _chunks(stream):  # to the end, where the compression's checksum is
                    pass
                return
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
                size = int(records.get("size", header.size))
            except (tarfile.HeaderError, ValueError) as error:
                raise self._bad_header(str(error)) from error
            if size < 0:
                raise self._bad_header("negative size")
            data = _TarData(stream, size, self.where)
            if header.type in _EXTENSIONS:
                if size > LONGEST_HEADER:
                    raise self._bad_header("a header that is too long")
                extension = _exactly(data, size)
                if header.type == tarfile.GNUTYPE_LONGNAME:
                    long_name = extension.split(b"\0")[0].decode("utf-8", "replace")
                elif header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                    records = self._pax_records(extension)
            else:
                seen += 1
                if seen > MOST_MEMBERS:
                    raise _too_many(self.where)
                name = records.get("path") or long_name or header.name
                path = self._checked(header, name)
                if header.isreg():
                    yield path, size, data
                long_name, records = None, {}
            data.finish()

    def _checked(self, header: tarfile.TarInfo, name: str) -> str:
        path = _safe_path(name, self.where)
        if header.issym() or header.islnk():
            raise _not_a_file(name, "a link", self.where)
        if header.type == tarfile.GNUTYPE_SPARSE or not (header.isreg() or header.isdir()):
            raise _not_a_file(name, "neither a file nor a folder", self.where)
        return path

    def _pax_records(self, extension: bytes) -> dict[str, str]:
        """POSIX.1-2001's extended header: lines of `<length> <keyword>=<value>`."""
        records: dict[str, str] = {}
        while extension:
            match = re.match(rb"([0-9]{1,6}) ([^=]+)=", extension)
            length = int(match[1]) if match else 0
            if not match or length <= match.end() or extension[length - 1 : length] != b"\n":
                raise self._bad_header("an extended header that does not parse")
            keyword = match[2].decode("utf-8", "replace")
            if keyword.startswith("GNU.sparse."):
                raise _not_a_file("a sparse file", "stored with holes", self.where)
            records[keyword] = extension[match.end() : length - 1].decode("utf-8", "replace")
            extension = extension[length:]
        return records

    def _bad_header(self, why: str) -> ArchiveCorrupt:
        return ArchiveCorrupt(f"{self.where} does not unpack as tar ({why}). Pack and upload it again.")


_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def _ascending(members: Sequence[Member]) -> bool:
    return all(a.position < b.position for a, b in itertools.pairwise(members))


def _batches(wanted: Sequence[Member]) -> Iterator[list[Member]]:
    """Runs of members that one pass can give in the order wanted: as they come, or held in memory and
    turned.
    """
    batch: list[Member] = []
    size = 0
    in_order = True
    for member in wanted:
        follows = in_order and (not batch or batch[-1].position < member.position)
        if batch and not follows and size + member.size > HELD:
            yield batch
            batch, size, follows = [], 0, True
        batch.append(member)
        size += member.size
        in_order = follows
    if batch:
        yield batch


# --- zip -----------------------------------------------------------------------------------------


class _Zip:
    """A zip, read through its central directory by ranges of the object."""

    is_archive = True

    def __init__(self, source: ObjectReader) -> None:
        self.where = source.uri
        self._source = source
        with self._damage_told():
            self._zip = zipfile.ZipFile(cast(IO[bytes], source))

    def members(self) -> list[Member]:
        listed = self._zip.infolist()
        if len(listed) > MOST_MEMBERS:
            raise _too_many(self.where)
        self._refuse_documents()
        declared = _Budget(self._source.size, self.where)
        found = []
        for position, entry in enumerate(listed):
            path = _safe_path(entry.filename, self.where)
            self._check(entry)
            declared.spend(entry.file_size)
            # Not is_dir(), which fails on an empty name.
            if entry.filename.endswith("/") or not entry.file_size:
                continue
            with self._damage_told(), self._zip.open(entry) as data:
                content = _content(data.read(_HEAD))
            found.append(Member(path, entry.file_size, position, content))
        return found

    def read(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Iterator[bytes]]]:
        listed = self._zip.infolist()
        budget = _Budget(self._source.size, self.where)
        for member in wanted:
            yield member, self._chunks(listed[member.position], budget)

    def _chunks(self, entry: zipfile.ZipInfo, budget: _Budget) -> Iterator[bytes]:
        with self._damage_told(), self._zip.open(entry) as data:
            for chunk in _chunks(data):
                budget.spend(len(chunk))
                yield chunk

    def _check(self, entry: zipfile.ZipInfo) -> None:
        unix_mode = entry.external_attr >> 16 if entry.create_system == 3 else 0
        if stat.S_IFMT(unix_mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _not_a_file(entry.filename, "a link or a device", self.where)
        if entry.flag_bits & 0x1:
            raise ArchiveEncrypted(
                f"{self.where} is encrypted (member {_shown(entry.filename)}). Upload a zip without a "
                "password."
            )
        # The other methods are rare, and zipfile puts no limit to the memory that LZMA's may ask for.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveCorrupt(
                f"{self.where} has a member compressed with method {entry.compress_type}, which is not read: "
                f"{_shown(entry.filename)}. Pack it again with the ordinary method, deflate."
            )

    def _refuse_documents(self) -> None:
        names = set(self._zip.namelist())
        if names & {"[Content_Types].xml", "META-INF/container.xml"}:
            raise DatasetNotText(
                f"{self.where} is not text but a document (Office or e-book) that is a zip inside. Save "
                "it as plain text in UTF-8 and upload that."
            )

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """zipfile meets damage and lies in the file's own numbers with many kinds of exception."""
        try:
            yield
        except ReadTooLong as error:  # the central directory
            raise _too_many(self.where) from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            EOFError,
            NotImplementedError,
            OSError,
            RuntimeError,
            ValueError,
            IndexError,
        ) as error:
            raise ArchiveCorrupt(
                f"{self.where} does not unpack as zip ({error}). Pack and upload it again."
            ) from error
