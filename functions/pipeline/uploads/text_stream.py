"""From the bytes of a text file to checked text, in pieces of bounded size.

A piece may end anywhere, also inside a line: a file with a single gigantic line takes no more memory than
any other.
"""

import codecs
import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator

from core.errors import DatasetNotText, DatasetNotUtf8
from core.text import cut

PREVIEW_LINES = 5
PREVIEW_CHARACTERS = 200


def decoded(chunks: Iterable[bytes], where: str) -> Iterator[str]:
    """Yield the text of one file.

    The byte order mark is removed. CRLF and a lone CR become LF, as in Python's text files. If the last
    line has no newline, one is added.

    Args:
        chunks: The bytes of the file, in chunks that are not empty.
        where: The name of the file in errors.

    Raises:
        DatasetNotText: There is a NUL byte.
        DatasetNotUtf8: The text is not UTF-8. Both messages give the byte's offset in the uploaded file.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    read = 0
    at_start = True
    last = ""
    for chunk in itertools.chain(chunks, [b""]):
        data, nul, _ = chunk.partition(b"\0")
        read += len(data)
        try:
            piece = decoder.decode(data, final=not chunk)
        except UnicodeDecodeError as error:
            raise _not_utf8(error, read - len(error.object) + error.start, where) from error
        if nul:
            raise DatasetNotText(
                f"{where} is not text: it has a NUL byte at offset {read}. Upload plain text in UTF-8."
            )
        if at_start and piece:
            piece = piece.removeprefix("\ufeff")
            at_start = False
        if piece:
            last = piece
            yield piece
    if last and not last.endswith("\n"):
        yield "\n"


def _not_utf8(error: UnicodeDecodeError, offset: int, where: str) -> DatasetNotUtf8:
    byte = f"byte 0x{error.object[error.start]:02X} at byte offset {offset} ({error.reason})"
    encoding = "ISO-8859-1"
    if offset == 0 and error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        byte, encoding = "the byte order mark of UTF-16 at byte offset 0", "UTF-16"
    return DatasetNotUtf8(
        f"{where} is not UTF-8: {byte}. Convert it, for example with `iconv -f {encoding} -t UTF-8`, and "
        "upload it again."
    )


class Tally:
    """Size and SHA-256 of text seen in pieces: UTF-8 bytes, lines (LF), words (separated by white space)."""

    def __init__(self) -> None:
        self.bytes = 0
        self.lines = 0
        self.words = 0
        self._hash = hashlib.sha256()
        self._in_word = False

    def add(self, text: str) -> bytes:
        """Count a piece and return it encoded."""
        if text:
            self.words += len(text.split())
            if self._in_word and not text[0].isspace():
                self.words -= 1  # the piece continues the last word of the one before
            self._in_word = not text[-1].isspace()
        data = text.encode()
        self.bytes += len(data)
        self.lines += data.count(b"\n")
        self._hash.update(data)
        return data

    @property
    def sha256(self) -> str:
        """The hash of all pieces, as a hexadecimal number."""
        return self._hash.hexdigest()


def preview(head: str) -> list[str]:
    """Return the first PREVIEW_LINES lines of a text that begins with `head`, cut to PREVIEW_CHARACTERS."""
    *lines, rest = head.split("\n", PREVIEW_LINES)
    if len(rest) > PREVIEW_CHARACTERS:
        lines.append(rest)  # a long line, even if its end is not in `head`
    return [cut(line, PREVIEW_CHARACTERS) for line in lines[:PREVIEW_LINES]]
