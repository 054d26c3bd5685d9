"""The content of gzip, xz and bzip2 files, bounded in memory and in size.

The decompressors of the standard library are used, but not its file classes: `lzma.LZMAFile` takes no memory
limit, and like `bz2.BZ2File` it ignores damage behind the first stream. To add a compression, begin in
`archives._COMPRESSED`: `archives` recognises the kind of a file by its first bytes, and `file_names` knows
the endings.
"""

import bz2
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import ArchiveCorrupt, ArchiveTooLarge
from uploads.object_reader import ObjectReader

# benchmarks/prepare_1gib.py shows that a function prepares this much in 15 minutes, even from a .tar.xz.
LARGEST_CORPUS = 4 * 1024**3
AT_MOST = f"at most {LARGEST_CORPUS // 1024**3} GiB of text are prepared in one run"
# Text shrinks to a third or a tenth, very repetitive text to a hundredth, a deflate bomb to a thousandth. Up
# to RATIO_FREE every ratio is accepted, because a small file may be one line repeated.
LARGEST_RATIO = 200
RATIO_FREE = 64 * 1024**2
# `xz -9` needs 65 MiB to decompress, but a file may ask for a dictionary of 4 GiB.
DECOMPRESSOR_MEMORY = 128 * 1024**2
# Larger chunks are slower, because they do not fit in the processor's cache, and take more memory.
CHUNK = 64 * 1024

_LIBRARY_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error)
# The libraries raise these for impossible numbers in a file.
_BUILTIN_ERRORS = (EOFError, LookupError, OSError, OverflowError, RuntimeError, ValueError)


def check_unpacked_size(size: int, packed: int, where: str) -> None:
    """Check the size of what comes out of a file of `packed` bytes.

    Raises:
        ArchiveTooLarge: It is more than LARGEST_CORPUS, or the file is an archive bomb.
    """
    if size > LARGEST_CORPUS:
        raise ArchiveTooLarge(f"{where} unpacks to too much: {AT_MOST}. Upload a part of it.")
    if size > max(RATIO_FREE, LARGEST_RATIO * packed):
        raise ArchiveTooLarge(
            f"{where} unpacks to more than {LARGEST_RATIO} times its {packed:,} bytes, as an archive bomb "
            "does and text does not. If it is text, upload it uncompressed."
        )


def corrupt(where: str, kind: str, reason: object) -> ArchiveCorrupt:
    """Return the error for a damaged file."""
    return ArchiveCorrupt(f"{where} does not unpack as {kind} ({reason}). Pack and upload it again.")


@contextmanager
def damage_reported(where: str, kind: str) -> Iterator[None]:
    """Raise ArchiveCorrupt for the exceptions with which the standard library reports a damaged file."""
    try:
        yield
    except (*_LIBRARY_ERRORS, *_BUILTIN_ERRORS) as error:
        if "usage limit exceeded" in str(error):
            raise ArchiveTooLarge(
                f"{where} needs more than {DECOMPRESSOR_MEMORY // 1024**2} MiB of memory to unpack. Compress "
                "it with plain `xz -6`."
            ) from error
        raise corrupt(where, kind, error) from error


class _Gunzip:
    """zlib's decompressor with the interface that bz2's and lzma's have."""

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


def _decompressor(compression: str) -> _Gunzip | bz2.BZ2Decompressor | lzma.LZMADecompressor:
    if compression == "gzip":
        return _Gunzip()
    if compression == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DECOMPRESSOR_MEMORY)


def decompressed(source: ObjectReader, compression: str) -> Iterator[bytes]:
    """Yield the content of a file of one or more compressed streams, with checksums verified.

    Args:
        source: The file, read from its start.
        compression: "gzip", "xz" or "bzip2".

    Raises:
        ArchiveCorrupt: The file is damaged, ends early, or has something else behind its last stream.
        ArchiveTooLarge: Too much comes out, or decompressing takes too much memory.
    """
    source.seek(0)
    decompressor = _decompressor(compression)
    size = 0
    with damage_reported(source.uri, compression):
        while True:
            feed = b""
            if decompressor.eof:
                feed = decompressor.unused_data.lstrip(b"\0")  # zeros may follow a stream as padding
                while not feed and (data := source.read(CHUNK)):
                    feed = data.lstrip(b"\0")
                if not feed:
                    return
                decompressor = _decompressor(compression)
            elif decompressor.needs_input:
                feed = source.read(CHUNK)
                if not feed:
                    raise EOFError("it ends early")
            data = decompressor.decompress(feed, CHUNK)
            size += len(data)
            check_unpacked_size(size, source.size, source.uri)
            if data:
                yield data
