"""Reading of uploaded text files, packed or not, without unpacking anything to disk.

The first bytes of a file say what it is; its name does not matter. There are three kinds of container: a text
(perhaps compressed), a tar (perhaps compressed) and a zip.

Everything that a hostile archive can lie about is bounded: the number of members, the length of headers, the
memory of a decompressor, and the size of the output. No file is ever written under a member's name. Paths
that leave the archive, links and devices are refused all the same, because nobody packs them on purpose
into an archive of texts.
"""

import codecs
import io
import itertools
import re
import stat
import tarfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple, cast

from core import errors
from core.text import cut
from uploads import decompression
from uploads.decompression import CHUNK, corrupt, damage_reported, decompressed
from uploads.object_reader import ObjectReader, ReadTooLong

MOST_MEMBERS = 10_000
# The headers of one member of a tar: a long name and attributes.
LONGEST_HEADERS = 64 * 1024
LONGEST_PATH = 4096  # Linux's PATH_MAX
# Members that are wanted in another order than the archive's are kept in memory, at most this much.
HELD = 256 * 1024**2
_HEAD = 4096

_COMPRESSED = {"gzip", "xz", "bzip2"}
_PACKED = {*_COMPRESSED, "tar", "zip", "7z", "rar", "zstd"}
_SIGNATURES: dict[str, bytes | tuple[bytes, ...]] = {
    "gzip": b"\x1f\x8b",
    "xz": b"\xfd7zXZ\0",
    "bzip2": tuple(f"BZh{level}1AY&SY".encode() for level in range(1, 10)),
    "zip": (b"PK\x03\x04", b"PK\x05\x06"),
    "7z": b"7z\xbc\xaf\x27\x1c",
    "rar": b"Rar!\x1a\x07",
    "zstd": b"\x28\xb5\x2f\xfd",
    # Kinds that people upload by mistake and that may have no NUL byte near their start.
    "a PDF": b"%PDF-",
    "an Office document": b"\xd0\xcf\x11\xe0",
    "an RTF document": b"{\\rtf",
    "a PNG image": b"\x89PNG",
    "a JPEG image": b"\xff\xd8\xff",
}


class _File(NamedTuple):
    """A file at which a pass over a container stands. Its first chunk has at most _HEAD bytes."""

    path: str
    size: int
    content: Iterator[bytes]


@dataclass(frozen=True)
class Member:
    """A file in a container: `position` is its place in it, `kind` what its first bytes show."""

    path: str
    size: int
    position: int
    kind: Literal["text", "binary", "archive"]


@dataclass(frozen=True)
class Container:
    """An uploaded object with one text or, if it is an archive, many files.

    `where` names it in errors. `files` starts a pass over all files, in the order in which they are stored.
    """

    where: str
    is_archive: bool
    files: Callable[[], Iterator[_File]]

    def members(self) -> list[Member]:
        """Return every file that is not empty.

        Raises:
            InvalidDataset: A subclass says why the archive must not be read.
        """
        return [
            Member(path, size, position, _kind_of_member(next(content, b"")))
            for position, (path, size, content) in enumerate(self.files())
            if size
        ]

    def read(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yield the wanted members with their bytes, in that order.

        The caller reads all chunks of a member before it asks for the next member.
        """
        left = deque(wanted)
        while left:
            # One pass. A file that comes before its turn is held if it is among the next HELD bytes.
            sizes = itertools.accumulate(member.size for member in left)
            may_be_held = {member.position for member, size in zip(left, sizes, strict=True) if size <= HELD}
            held: dict[int, list[bytes]] = {}
            for position, file in enumerate(self.files()):
                if position == left[0].position:
                    yield left.popleft(), file.content
                elif position in may_be_held:
                    held[position] = list(file.content)
                while left and left[0].position in held:
                    member = left.popleft()
                    yield member, iter(held.pop(member.position))
                if not left:
                    break


def open_container(source: ObjectReader) -> Container:
    """Return the container that an object is.

    Raises:
        DatasetNotText: The object is of a kind that is not read.
        ArchiveNested: The object is an archive in a compressed file.
        DatasetTooLarge: The object has more than LARGEST_CORPUS bytes.
    """
    where = source.uri
    if source.size > decompression.LARGEST_CORPUS:
        raise errors.DatasetTooLarge(
            f"{where} has {source.size:,} bytes; {decompression.AT_MOST}. Upload a part of it."
        )
    compression = _kind(_Stream(_stored(source)).read(_HEAD))
    if compression == "zip":
        return Container(where, True, _zip_files(source))

    def unpacked() -> Iterator[bytes]:
        return decompressed(source, compression) if compression in _COMPRESSED else _stored(source)

    kind = _kind(_Stream(unpacked()).read(_HEAD))
    if compression in _COMPRESSED and kind in _PACKED - {"tar"}:
        raise errors.ArchiveNested(f"{where} is {kind} within {compression}; upload the {kind} file itself.")
    if kind == "tar":
        return Container(where, True, lambda: _tar_files(where, unpacked()))
    if kind:
        raise errors.DatasetNotText(
            f"{where} is not text but {kind}. Upload plain text in UTF-8, or a .gz, .bz2, .xz, .zip, "
            ".tar.gz, .tar.bz2 or .tar.xz of it."
        )
    return Container(where, False, lambda: iter([_File(source.key, source.size, unpacked())]))


def _kind(head: bytes) -> str:
    """Return the kind of file that begins with `head`; an empty string if it may be text."""
    known = next((kind for kind, signature in _SIGNATURES.items() if head.startswith(signature)), "")
    return known or ("tar" if head[257:262] == b"ustar" else "")


def _kind_of_member(head: bytes) -> Literal["text", "binary", "archive"]:
    kind = _kind(head)
    if kind in _PACKED:
        return "archive"
    # UTF-16 counts as text, so that it fails for its encoding instead of being left out silently.
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "text"
    return "binary" if kind or b"\0" in head else "text"


def _stored(source: ObjectReader) -> Iterator[bytes]:
    source.seek(0)
    yield from iter(lambda: source.read(CHUNK), b"")


class _Stream:
    """Chunks of bytes as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = io.BytesIO()

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, or fewer at the end."""
        data = self._chunk.read(size)
        while len(data) < size and (chunk := next(self._chunks, b"")):
            self._chunk = io.BytesIO(chunk)
            data += self._chunk.read(size - len(data))
        return data


def _checked_path(name: str, where: str, flaw: str) -> str:
    """Return a member's path with forward slashes and without a leading `./`.

    Raises:
        ArchiveUnsafe: The member has a flaw, or its path leaves the archive or is longer than any file's.
    """
    shown = repr(cut(name, 200))
    if len(name) > LONGEST_PATH:
        raise errors.ArchiveUnsafe(
            f"{where} has a member with a name of {len(name):,} characters, {shown}; at most "
            f"{LONGEST_PATH:,} characters are read. Pack the text files under shorter names."
        )
    path = name.replace("\\", "/")
    if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in path.split("/"):
        raise errors.ArchiveUnsafe(
            f"{where} has a member that would be written outside its folder: {shown}. Pack the text files "
            "again, with relative paths."
        )
    if flaw:
        raise errors.ArchiveUnsafe(
            f"{where} has a member that is {flaw}: {shown}. Pack only the text files themselves."
        )
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _check_count(members: int, where: str) -> None:
    if members > MOST_MEMBERS:
        raise errors.ArchiveTooLarge(
            f"{where} has more than {MOST_MEMBERS:,} members. Join the texts into fewer files and pack those."
        )


# --- tar -----------------------------------------------------------------------------------------


class _TarStream(_Stream):
    """The forward-only file from which TarFile reads headers, with a bound on their length.

    TarFile takes a damaged header for the end of the archive. `last_read` tells the two apart: at the
    end there is a block of zeros.
    """

    def __init__(self, chunks: Iterator[bytes], where: str) -> None:
        super().__init__(chunks)
        self.last_read = b""
        self.headers_read = 0
        self._where = where
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """Read a part of a member's headers."""
        self.headers_read += size
        if size < 0 or self.headers_read > LONGEST_HEADERS:
            raise corrupt(self._where, "tar", "a header that is too long")
        self.last_read = super().read(size)
        self._position += len(self.last_read)
        return self.last_read

    def seek(self, position: int) -> None:
        """Skip the rest of a member's content."""
        for _ in self.content(position - self._position):
            pass

    def content(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes: the content of the member whose headers were just read."""
        longest = _HEAD
        while size > 0:
            chunk = super().read(min(longest, size))
            if not chunk:
                raise corrupt(self._where, "tar", "it ends early")
            size -= len(chunk)
            self._position += len(chunk)
            longest = CHUNK
            yield chunk


def _tar_files(where: str, unpacked: Iterator[bytes]) -> Iterator[_File]:
    """Yield each regular file of a tar.

    Raises:
        ArchiveCorrupt: The archive ends early, or a header is damaged or too long.
        ArchiveUnsafe: A member is neither a file nor a folder, or its path leaves the archive.
        ArchiveTooLarge: There are too many members.
    """
    stream = _TarStream(unpacked, where)
    with damage_reported(where, "tar"):
        archive = tarfile.TarFile(fileobj=cast(IO[bytes], stream), encoding="utf-8", errors="replace")
    for count in itertools.count(1):
        with damage_reported(where, "tar"):
            stream.headers_read = 0
            header = archive.next()
        if header is None:
            break
        _check_count(count, where)
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
        path = _checked_path(header.name, where, flaw)
        if header.size < 0:
            raise corrupt(where, "tar", "negative size")
        if header.isreg():
            yield _File(path, header.size, stream.content(header.size))
    if stream.last_read != bytes(tarfile.BLOCKSIZE):
        early = len(stream.last_read) < tarfile.BLOCKSIZE
        raise corrupt(where, "tar", "it ends early" if early else "a damaged header")
    for _ in unpacked:  # to the end, where the compression's checksum is
        pass


# --- zip -----------------------------------------------------------------------------------------


def _zip_files(source: ObjectReader) -> Callable[[], Iterator[_File]]:
    """Check a zip's central directory; return a function that yields each of its files.

    Raises:
        ArchiveCorrupt: The directory is damaged, or a member is packed in a way that is not read.
        ArchiveEncrypted: A member needs a password.
        ArchiveUnsafe: A member is neither a file nor a folder, or its path leaves the archive.
        ArchiveTooLarge: There are too many members, or they unpack to too much.
        DatasetNotText: The zip is a document.
    """
    where = source.uri
    with damage_reported(where, "zip"):
        try:
            archive = zipfile.ZipFile(source)
        except ReadTooLong:  # the directory
            _check_count(MOST_MEMBERS + 1, where)
            raise
    entries = archive.infolist()
    _check_count(len(entries), where)
    if {"[Content_Types].xml", "META-INF/container.xml"} & {entry.filename for entry in entries}:
        raise errors.DatasetNotText(
            f"{where} is not text but a document (Office or e-book), which is a zip inside. Save it as plain "
            "text in UTF-8 and upload that."
        )
    # No more is read of a member than the directory says.
    decompression.check_unpacked_size(sum(entry.file_size for entry in entries), source.size, where)
    paths = [_checked_entry(entry, where) for entry in entries]

    def content(entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with damage_reported(where, "zip"), archive.open(entry) as data:
            yield data.read(_HEAD)
            yield from iter(lambda: data.read(CHUNK), b"")

    return lambda: (
        _File(path, entry.file_size, content(entry))
        for path, entry in zip(paths, entries, strict=True)
        if not entry.filename.endswith("/")  # ZipInfo.is_dir fails on an empty name
    )


def _checked_entry(entry: zipfile.ZipInfo, where: str) -> str:
    """Return a member's path."""
    unix_mode = entry.external_attr >> 16 if entry.create_system == 3 else 0
    is_special = stat.S_IFMT(unix_mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
    path = _checked_path(entry.filename, where, "a link or a device" if is_special else "")
    if entry.flag_bits & 0x1:
        raise errors.ArchiveEncrypted(
            f"{where} is encrypted (member {cut(path, 200)!r}). Upload a zip without a password."
        )
    # Other methods are rare, and zipfile does not bound the memory that LZMA's may request.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise errors.ArchiveCorrupt(
            f"{where} has a member compressed with method {entry.compress_type}, which is not read: "
            f"{cut(path, 200)!r}. Pack it again with the ordinary method, deflate."
        )
    return path
