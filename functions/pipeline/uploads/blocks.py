"""Blocks of a text: the parts that are cut 90/5/5 in themselves, or go whole to one split.

A block is never larger than BLOCK and a line, so it fits in memory, whatever the size of the text. Where it
is cut depends on its content only, so the same text is always cut at the same places:

- between lines, if there are ENOUGH_LINES with a word;
- else between sentences or words, if it is a whole text of ENOUGH_CHARACTERS; then a line end is put at both.
- Another block is not cut.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from contracts.dataset import Block, Split
from uploads import text_lines

BLOCK = 64 * 1024**2
# A block with at least this many lines with a word is cut in itself.
ENOUGH_LINES = 10
# A text with fewer lines, and at least this many characters, is cut within its lines.
ENOUGH_CHARACTERS = 1000

_SPACES = b" \t\n\v\f\r\x1c\x1d\x1e\x1f"
# White space that is not ASCII, in UTF-8. With _SPACES, it is all that str.split takes for white space. Each
# pattern begins with fixed bytes, which are found many times faster than one of several.
_WIDE_SPACES = [
    re.compile(pattern)
    for pattern in (
        rb"\xc2\xa0",
        rb"\xe1\x9a\x80",
        rb"\xe2\x80[\x80-\x8a\xaf]",
        rb"\xe2\x81\x9f",
        rb"\xe3\x80\x80",
    )
]
# White space becomes a space, and what may begin a word becomes "a", so that words are counted fast. A byte
# inside a character becomes "b", which lets the search for " a" skip.
_CLASSES = bytes(32 if byte in _SPACES else 98 if 0x80 <= byte < 0xC0 else 97 for byte in range(256))
_LINE_WITHOUT_WORD = re.compile(rb"\n[ \t\v\f\r\x1c-\x1f]*(?=\n)")
_WORD = re.compile(r"\S+")
_SENTENCE_OR_LINE = re.compile(rf"{text_lines.SENTENCE_END}|\n")


@dataclass
class Measured:
    """The size of whole lines; `filled` is how many of them contain a word."""

    lines: int = 0
    filled: int = 0
    words: int = 0
    bytes: int = 0

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(
            self.lines + other.lines,
            self.filled + other.filled,
            self.words + other.words,
            self.bytes + other.bytes,
        )

    def split(self) -> Split:
        """Return the size as a contract has it."""
        return Split(lines=self.lines, words=self.words, bytes=self.bytes)


def measured(lines: bytes) -> Measured:
    """Return the size of whole lines in UTF-8, in which only LF ends a line."""
    size = len(lines)
    if not lines.isascii():
        for space in _WIDE_SPACES:
            if space.search(lines):
                lines = space.sub(b" ", lines)
    # The line before the first one ends, too.
    blank = len(_LINE_WITHOUT_WORD.findall(b"\n" + lines))
    count = lines.count(b"\n")
    classes = lines.translate(_CLASSES)
    words = classes.count(b" a") + classes.startswith(b"a")
    return Measured(count, count - blank, words, size)


@dataclass
class TextBlock:
    """A block while it is read: pieces of whole lines."""

    is_whole_text: bool = False
    pieces: list[bytes] = field(default_factory=list)
    sizes: list[Measured] = field(default_factory=list)

    def add(self, piece: bytes) -> None:
        """Append whole lines."""
        self.pieces.append(piece)
        self.sizes.append(measured(piece))

    def finished(self) -> Block:
        """Return the block's hash, and the sizes of what it is cut into. Few long lines are cut here."""
        size = sum(self.sizes, Measured())
        if size.filled < ENOUGH_LINES:
            parts = [part.split() for part in self._cut_within_lines(size)]
        else:
            train, valid, _ = _shares(size.filled)
            ends = (Measured(), self._first(train), self._first(train + valid), size)
            parts = [_difference(end, start) for start, end in itertools.pairwise(ends)]
        digest = hashlib.sha256()
        for piece in self.pieces:
            digest.update(piece)
        return Block(sha256=digest.hexdigest(), parts=parts)

    def _cut_within_lines(self, size: Measured) -> list[Measured]:
        """Cut a block of few lines, if it is long enough, and return the sizes of the parts."""
        text = b"".join(self.pieces).decode() if self.is_whole_text else ""
        places = _cuts_within_lines(text) if len(text) >= ENOUGH_CHARACTERS else []
        if not places:
            return [size]
        self.pieces = []
        start = 0
        for place in (*places, len(text)):
            part = text[start:place]
            self.pieces.append((part if part.endswith("\n") else f"{part}\n").encode())
            # White space at the cut becomes the line end.
            start = place + 1 if place < len(text) and text[place].isspace() else place
        self.sizes = [measured(piece) for piece in self.pieces]
        return self.sizes

    def _first(self, filled: int) -> Measured:
        """Return the size of the block up to the end of the line with a word of that number."""
        size = Measured()
        for piece, measure in zip(self.pieces, self.sizes, strict=True):
            if size.filled + measure.filled < filled:
                size += measure
                continue
            return size + measured(_head(piece, filled - size.filled))
        return size


def _head(piece: bytes, filled: int) -> bytes:
    """Return the lines up to the one with a word of that number."""
    lines = piece.decode().split("\n")
    for number, line in enumerate(lines, 1):
        filled -= bool(line.strip())
        if filled == 0:
            return "".join(f"{each}\n" for each in lines[:number]).encode()
    return piece


def _difference(larger: Measured, smaller: Measured) -> Split:
    return Split(
        lines=larger.lines - smaller.lines,
        words=larger.words - smaller.words,
        bytes=larger.bytes - smaller.bytes,
    )


def _shares(units: int) -> tuple[int, int, int]:
    """Return how many of the units are for train, valid and test: 90, 5 and 5 per cent, and at least one."""
    held_out = max(units * 5 // 100, 1)
    return units - 2 * held_out, held_out, held_out


def _cuts_within_lines(text: str) -> list[int]:
    """Return where train and valid end, in characters; nothing if there are too few places to cut."""
    for pattern in (_SENTENCE_OR_LINE, _WORD):
        places = []
        start = 0
        for match in pattern.finditer(text):
            # A part between two places has a word.
            if text[start : match.end()].strip():
                start = match.end()
                places.append(start)
        if len(places) >= ENOUGH_LINES:
            train, valid, _ = _shares(len(places))
            return [places[train - 1], places[train + valid - 1]]
    return []


def blocks(lines: Iterable[bytes], is_range: bool = False) -> Iterator[TextBlock]:
    """Yield a text in blocks. Each ends after the line that reaches BLOCK bytes.

    Args:
        lines: the text in pieces of whole lines.
        is_range: whether this is a range of a larger text.
    """
    block = TextBlock(is_whole_text=not is_range)
    room = BLOCK
    for piece in lines:
        start = 0
        while len(piece) - start >= room:
            end = piece.index(b"\n", start + room - 1) + 1
            block.add(piece[start:end])
            block.is_whole_text = False
            yield block
            block, room, start = TextBlock(), BLOCK, end
        if start < len(piece):
            block.add(piece[start:] if start else piece)
            room -= len(piece) - start
    if block.pieces:
        yield block
