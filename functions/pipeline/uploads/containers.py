"""The files in an uploaded object, packed or not, without unpacking anything to disk.

The first bytes of an object say what it is; its name does not matter. There are three kinds of container: a
single file (perhaps compressed), a tar (perhaps compressed) and a zip.

Everything that a hostile archive can lie about is bounded: the number of members, the length of headers, the
memory of a decompressor, and the size of the output. No file is ever written under a member's name. Paths
that leave the archive, links and devices are refused all the same, because nobody packs them on purpose
into an archive of texts.
"""

import io
import itertools
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, NamedTuple, cast

from core import errors
from core.text import cut
from uploads import file_kinds
from uploads.compression import (
    CHUNK,
    COMPRESSIONS,
    check_unpacked_size,
    corrupt,
    damage_reported,
    decompressed,
)
from uploads.file_kinds import HEAD
from uploads.object_reader import ObjectReader, ReadTooLong

MOST_MEMBERS = 10_000
# The headers of one member of a tar: a long name and attributes.
LONGEST_HEADERS = 64 * 1024
LONGEST_PATH = 4096  # Linux's PATH_MAX


class File(NamedTuple):
    """A file in a container. `content` yields its bytes; what is not read of it is skipped."""

    path: str
    content: Iterator[bytes]


@dataclass(frozen=True)
class Container:
    """An uploaded object with one file or, if it is an archive, many.

    `files` yields them once, in the order in which they are stored. `notes` has sentences about what was
    tolerated, and is complete when `files` has ended.
    """

    is_archive: bool
    files: Iterator[File]
    notes: list[str] = field(default_factory=list)


def open_container(source: ObjectReader) -> Container:
    """Return the container that an object is.

    Raises:
        DatasetNotText: The object is a document.
        ArchiveNested: The object is an archive in a compressed file.
        InvalidDataset: Another subclass says why a zip must not be read.
    """
    notes: list[str] = []
    head = source.read(HEAD)
    source.seek(0)
    packing = file_kinds.packing_of(head)
    if packing == "zip":
        if error := file_kinds.zip_document(head):
            raise error
        return Container(True, _zip_files(source), notes)
    if packing is None or packing not in COMPRESSIONS:
        unpacked = iter(lambda: source.read(CHUNK), b"")
    else:
        unpacked, within = _peeked(decompressed(source, packing, notes.append))
        inner = file_kinds.packing_of(within)
        if inner not in (None, "tar"):
            raise errors.ArchiveNested(
                f"It is {inner} within {packing}. Unpack it once, and upload the result."
            )
        packing = inner
    if packing == "tar":
        return Container(True, _tar_files(unpacked, notes), notes)
    return Container(False, iter([File("", unpacked)]), notes)


def _peeked(chunks: Iterator[bytes]) -> tuple[Iterator[bytes], bytes]:
    """Return the same chunks again, and their first bytes."""
    first = b""
    while len(first) < HEAD and (chunk := next(chunks, b"")):
        first += chunk
    return itertools.chain([first] if first else [], chunks), first[:HEAD]


def _checked_path(name: str, flaw: str) -> str:
    """Return a member's path with forward slashes and without a leading `./`.

    Raises:
        ArchiveUnsafe: The member has a flaw, or its path leaves the archive or is longer than any file's.
    """
    shown = repr(cut(name, 200))
    if len(name) > LONGEST_PATH:
        raise errors.ArchiveUnsafe(
            f"It has a member with a name of {len(name):,} characters, {shown}; at most {LONGEST_PATH:,} "
            "characters are read. Pack the text files under shorter names."
        )
    path = name.replace("\\", "/")
    if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in path.split("/"):
        raise errors.ArchiveUnsafe(
            f"It has a member that would be written outside its folder: {shown}. Pack the text files again, "
            "with relative paths."
        )
    if flaw:
        raise errors.ArchiveUnsafe(
            f"It has a member that is {flaw}: {shown}. Pack only the text files themselves."
        )
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _check_count(members: int) -> None:
    if members > MOST_MEMBERS:
        raise errors.ArchiveTooLarge(
            f"It has more than {MOST_MEMBERS:,} members. Join the texts into fewer files and pack those."
        )


# --- tar -----------------------------------------------------------------------------------------


class _TarStream:
    """The forward-only file from which TarFile reads headers, with a bound on their length.

    TarFile takes a damaged header for the end of the archive. `last_read` tells the two apart: at the
    end there is a block of zeros, or nothing.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.last_read = b""
        self.headers_read = 0
        self._chunks = chunks
        self._chunk = io.BytesIO()
        self._position = 0
        self._content_end = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """Read a part of a member's headers."""
        self.headers_read += size
        if size < 0 or self.headers_read > LONGEST_HEADERS:
            raise corrupt("tar", "a header that is too long")
        self.last_read = b""
        while len(self.last_read) < size and (data := self._some(size - len(self.last_read))):
            self.last_read += data
        return self.last_read

    def seek(self, position: int) -> None:
        """Skip the rest of a member's content and its padding, which may be missing at the end."""
        while self._position < position:
            if self._some(position - self._position):
                continue
            if self._position < self._content_end:
                raise corrupt("tar", "it ends early")
            # TarFile looks whether the last byte of the padding is there.
            self._chunk = io.BytesIO(bytes(-self._position % tarfile.BLOCKSIZE))
            if not self._chunk.getbuffer():
                return

    def content(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes: the content of the member whose headers were just read."""
        self._content_end = end = self._position + size
        while self._position < end:
            data = self._some(min(CHUNK, end - self._position))
            if not data:
                raise corrupt("tar", "it ends early")
            yield data

    def _some(self, size: int) -> bytes:
        """Return at least one byte and at most `size`, or nothing at the end."""
        data = self._chunk.read(size)
        if not data and (chunk := next(self._chunks, b"")):
            self._chunk = io.BytesIO(chunk)
            data = self._chunk.read(size)
        self._position += len(data)
        return data

    def rest(self) -> Iterator[bytes]:
        """Yield what is left, to the end, where the compression's checksum is."""
        return iter(lambda: self._some(CHUNK), b"")


def _tar_files(unpacked: Iterator[bytes], notes: list[str]) -> Iterator[File]:
    """Yield each regular file of a tar.

    Raises:
        ArchiveCorrupt: The archive ends early, or a header is damaged or too long.
        ArchiveUnsafe: A member is neither a file nor a folder, or its path leaves the archive.
        ArchiveTooLarge: There are too many members.
    """
    stream = _TarStream(unpacked)
    with damage_reported("tar"):
        archive = tarfile.TarFile(fileobj=cast(IO[bytes], stream), encoding="utf-8", errors="replace")
    for count in itertools.count(1):
        with damage_reported("tar"):
            stream.headers_read = 0
            header = archive.next()
        if header is None:
            break
        _check_count(count)
        # TarFile keeps all headers. Thousands of long ones would fill the memory.
        archive.members.clear()  # type: ignore[attr-defined]
        cast(dict[str, str], archive.pax_headers).clear()
        flaw = ""
        if header.issym() or header.islnk():
            flaw = "a link"
        elif header.issparse():
            flaw = "stored with holes"
        elif not (header.isreg() or header.isdir()):
            flaw = "neither a file nor a folder"
        path = _checked_path(header.name, flaw)
        if header.size < 0:
            raise corrupt("tar", "negative size")
        if header.isreg():
            yield File(path, stream.content(header.size))
    if any(stream.last_read):
        early = len(stream.last_read) < tarfile.BLOCKSIZE
        raise corrupt("tar", "it ends early" if early else "a damaged header")
    if len(stream.last_read) < tarfile.BLOCKSIZE:
        notes.append("The tar has no end mark. It was read to its last byte, but a part may be missing.")
    ignored = sum(len(data) for data in stream.rest() if data.strip(b"\0"))
    if ignored:
        notes.append("Bytes after the end of the tar were ignored.")


# --- zip -----------------------------------------------------------------------------------------


def _zip_files(source: ObjectReader) -> Iterator[File]:
    """Check a zip's central directory; return an iterator over its files.

    Raises:
        ArchiveCorrupt: The directory is damaged, or a member is packed in a way that is not read.
        ArchiveEncrypted: A member needs a password.
        ArchiveUnsafe: A member is neither a file nor a folder, or its path leaves the archive.
        ArchiveTooLarge: There are too many members, or they unpack to too much.
        DatasetNotText: The zip is a document.
    """
    with damage_reported("zip"):
        try:
            archive = zipfile.ZipFile(source)
        except ReadTooLong:  # the directory
            _check_count(MOST_MEMBERS + 1)
            raise
    entries = archive.infolist()
    _check_count(len(entries))
    names = {entry.filename for entry in entries}
    for mark, kind in _ZIP_DOCUMENTS.items():
        if mark in names:
            raise file_kinds.document(kind)
    # No more is read of a member than the directory says.
    check_unpacked_size(sum(entry.file_size for entry in entries), source.size)
    paths = [_checked_entry(entry) for entry in entries]

    def content(entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with damage_reported("zip"), archive.open(entry) as data:
            yield from iter(lambda: data.read(CHUNK), b"")

    return (
        File(path, content(entry))
        for path, entry in zip(paths, entries, strict=True)
        if not entry.filename.endswith("/")  # ZipInfo.is_dir fails on an empty name
    )


# A file in the zip that only this kind of document has.
_ZIP_DOCUMENTS = {
    "[Content_Types].xml": "an Office document",
    "META-INF/container.xml": "an e-book (EPUB)",
    "META-INF/manifest.xml": "an OpenDocument file",
    "mimetype": "an OpenDocument file or an e-book",
}


def _checked_entry(entry: zipfile.ZipInfo) -> str:
    """Return a member's path."""
    unix_mode = entry.external_attr >> 16 if entry.create_system == 3 else 0
    is_special = stat.S_IFMT(unix_mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
    path = _checked_path(entry.filename, "a link or a device" if is_special else "")
    if entry.flag_bits & 0x1:
        raise errors.ArchiveEncrypted(
            f"It is encrypted (member {cut(path, 200)!r}). Upload a zip without a password."
        )
    # Other methods are rare, and zipfile does not bound the memory that LZMA's may request.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise errors.ArchiveCorrupt(
            f"It has a member compressed with method {entry.compress_type}, which is not read: "
            f"{cut(path, 200)!r}. Pack it again with the ordinary method, deflate."
        )
    return path
