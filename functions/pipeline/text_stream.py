"""From the bytes of a text file to checked text, in pieces of bounded size.

Pieces end anywhere, also inside a line: a file that is one gigantic line costs no more memory than any other.
"""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Iterable, Iterator

from core.errors import DatasetNotText, DatasetNotUtf8

PREVIEW_LINES = 5
PREVIEW_CHARACTERS = 200


def decoded(chunks: Iterable[bytes], where: str) -> Iterator[str]:
    """The text of one file: strict UTF-8 without byte order mark, line ends as LF, the last line ended too.

    Line ends are read as Python's text files read them: CRLF and a lone CR count as LF. An empty file gives
    nothing. `where` names the file in errors.

    Raises DatasetNotText at a NUL byte and DatasetNotUtf8 at the first byte that is not UTF-8; both messages
    give the offset in bytes from the start of the file as it was uploaded.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")("strict")
    line_ends = io.IncrementalNewlineDecoder(None, translate=True)
    read = 0
    at_start = True
    text = ""
    for chunk in _with_end(chunks):
        held = len(utf8.getstate()[0])  # the first bytes of a character whose rest is in this chunk
        nul = chunk.find(b"\0") if chunk else -1
        try:
            piece = utf8.decode(chunk if nul < 0 else chunk[:nul], final=not chunk)
        except UnicodeDecodeError as error:
            raise _not_utf8(error, read - held + error.start, where) from error
        if nul >= 0:
            raise DatasetNotText(
                f"{where} is not text: there is a NUL byte at offset {read + nul}. Upload plain text in "
                "UTF-8."
            )
        read += len(chunk)
        if at_start and piece:
            piece = piece.removeprefix("\ufeff")
            at_start = False
        piece = line_ends.decode(piece, final=not chunk)
        if piece:
            text = piece
            yield piece
    if text and not text.endswith("\n"):
        yield "\n"


def _with_end(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The non-empty chunks, then an empty one: the end."""
    yield from filter(None, chunks)
    yield b""


def _not_utf8(error: UnicodeDecodeError, offset: int, where: str) -> DatasetNotUtf8:
    found = error.object[error.start : error.start + 1].hex().upper()
    if offset == 0 and error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return DatasetNotUtf8(
            f"{where} is not UTF-8: at byte offset 0 stands the byte order mark of UTF-16. Convert it, "
            "for example with `iconv -f UTF-16 -t UTF-8`, and upload it again."
        )
    return DatasetNotUtf8(
        f"{where} is not UTF-8: byte 0x{found} at byte offset {offset} ({error.reason}). Convert it, for "
        "example with `iconv -f ISO-8859-1 -t UTF-8`, and upload it again."
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
                self.words -= 1  # the piece goes on with the word that the one before broke off in
            self._in_word = not text[-1].isspace()
        data = text.encode()
        self.bytes += len(data)
        self.lines += data.count(b"\n")
        self._hash.update(data)
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class Preview:
    """The first PREVIEW_LINES lines of text seen in pieces, each cut at PREVIEW_CHARACTERS characters."""

    def __init__(self) -> None:
        self._lines = [""]

    def add(self, text: str) -> None:
        if len(self._lines) > PREVIEW_LINES:
            return
        first, *others = text.split("\n", PREVIEW_LINES)
        self._lines[-1] = (self._lines[-1] + first[: PREVIEW_CHARACTERS + 1])[: PREVIEW_CHARACTERS + 1]
        self._lines += [line[: PREVIEW_CHARACTERS + 1] for line in others]
        del self._lines[PREVIEW_LINES + 1 :]

    @property
    def lines(self) -> list[str]:
        """Whole lines only: the piece after the last line end is not one."""
        return [
            line if len(line) <= PREVIEW_CHARACTERS else line[: PREVIEW_CHARACTERS - 1] + "…"
            for line in self._lines[:-1][:PREVIEW_LINES]
        ]
