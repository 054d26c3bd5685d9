"""The content of gzip, bzip2, xz and zstd files, bounded in memory and in size.

The libraries' decompressors are used, but not their file classes: `lzma.LZMAFile` takes no memory limit.
"""

import bz2
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, Protocol

from backports import zstd

from core.errors import ArchiveCorrupt, ArchiveTooLarge
from uploads.object_reader import ObjectReader

# Text shrinks to a third or a tenth, very repetitive text to a hundredth, a deflate bomb to a thousandth. Up
# to RATIO_FREE every ratio is accepted, because a small file may be one line repeated.
LARGEST_RATIO = 200
RATIO_FREE = 64 * 1024**2
# `xz -9` needs 65 MiB to decompress and `zstd --ultra -22` needs 128 MiB, but a file may ask for more.
DECOMPRESSOR_MEMORY = 136 * 1024**2
_ZSTD_WINDOW = 27  # 2**27 bytes are 128 MiB
# Larger chunks do not fit in the processor's cache. Smaller ones take more calls.
CHUNK = 256 * 1024

_LIBRARY_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, zstd.ZstdError, struct.error,
)  # fmt: skip
# The libraries raise these for impossible numbers in a file.
_BUILTIN_ERRORS = (EOFError, LookupError, OSError, OverflowError, RuntimeError, ValueError)
_ASKS_FOR_MEMORY = ("usage limit exceeded", "too much memory")


def check_unpacked_size(size: int, packed: int) -> None:
    """Check the size of what comes out of a file of `packed` bytes.

    Raises:
        ArchiveTooLarge: The file is an archive bomb.
    """
    if size > max(RATIO_FREE, LARGEST_RATIO * packed):
        raise ArchiveTooLarge(
            f"It unpacks to more than {LARGEST_RATIO} times its {packed:,} bytes, as an archive bomb does "
            "and text does not. If it is text, upload it uncompressed."
        )


def corrupt(kind: str, reason: object) -> ArchiveCorrupt:
    """Return the error for a damaged file."""
    return ArchiveCorrupt(f"It does not unpack as {kind} ({reason}). Pack and upload it again.")


@contextmanager
def damage_reported(kind: str) -> Iterator[None]:
    """Raise ArchiveCorrupt for the exceptions with which the libraries report a damaged file."""
    try:
        yield
    except (*_LIBRARY_ERRORS, *_BUILTIN_ERRORS) as error:
        if any(words in str(error) for words in _ASKS_FOR_MEMORY):
            raise ArchiveTooLarge(
                f"It needs more than {DECOMPRESSOR_MEMORY // 1024**2} MiB of memory to unpack. Compress it "
                "with an ordinary level, such as `xz -6` or `zstd -19`."
            ) from error
        raise corrupt(kind, error) from error


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # 31: with gzip's header and checksum
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = len(out) < max_length
        return out


class _Compression(NamedTuple):
    """A compression: how its files may begin, and what decompresses them."""

    signatures: tuple[bytes, ...]
    decompressor: Callable[[], _Decompressor]


COMPRESSIONS = {
    "gzip": _Compression((b"\x1f\x8b",), _Gunzip),
    "bzip2": _Compression(
        # A level, then the mark of a block, or that of the end if the file is empty.
        tuple(b"BZh%d%b" % (level, mark) for level in range(1, 10) for mark in (b"1AY&SY", b"\x17rE8P\x90")),
        bz2.BZ2Decompressor,
    ),
    "xz": _Compression(
        (b"\xfd7zXZ\0",), partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=DECOMPRESSOR_MEMORY)
    ),
    "zstd": _Compression(
        # The others are skippable frames, with which some programs begin their files.
        (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))),
        partial(zstd.ZstdDecompressor, options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}),
    ),
}
"""The compressions that are read. file_names.COMPRESSED has the endings of their names."""


def decompressed(source: ObjectReader, name: str, note: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the content of a file of one or more compressed streams, with checksums verified.

    Args:
        source: The file, read from its start.
        name: The compression's name in COMPRESSIONS.
        note: called with a sentence if bytes after the last stream are ignored, as gunzip does.

    Raises:
        ArchiveCorrupt: The file is damaged or ends early.
        ArchiveTooLarge: Too much comes out, or decompressing takes too much memory.
    """
    source.seek(0)
    signatures, new_decompressor = COMPRESSIONS[name]
    decompressor = new_decompressor()
    size = 0
    with damage_reported(name):
        while True:
            feed = b""
            if decompressor.eof:
                feed = _after_stream(source, decompressor.unused_data)
                if not feed:
                    return
                if not feed.startswith(signatures):
                    ignored = len(feed) + source.size - source.tell()
                    note(f"What comes after the end of its {name} data was ignored: {_bytes(ignored)}.")
                    return
                decompressor = new_decompressor()
            elif decompressor.needs_input:
                feed = source.read(CHUNK)
                if not feed:
                    raise EOFError("it ends early")
            data = decompressor.decompress(feed, CHUNK)
            size += len(data)
            check_unpacked_size(size, source.size)
            if data:
                yield data


def _bytes(number: int) -> str:
    return f"{number:,} {'byte' if number == 1 else 'bytes'}"


def _after_stream(source: ObjectReader, unused: bytes) -> bytes:
    """Return the next bytes after a stream, without the zeros that may follow it as padding."""
    feed = unused.lstrip(b"\0")
    while len(feed) < 16 and (data := source.read(CHUNK)):
        feed = (feed + data).lstrip(b"\0")
    return feed
