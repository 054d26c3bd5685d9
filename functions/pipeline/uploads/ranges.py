"""Byte ranges of a large plain text, which several items read.

A range begins and ends after a line end. Two neighbours find the same place, because both look only at the
bytes after the offset that the plan gives them.
"""

import re
from collections.abc import Iterator

from uploads.compression import CHUNK
from uploads.json_lines import LONGEST_RECORD
from uploads.object_reader import ObjectReader

# A range has this many bytes before it is moved to line ends. It is a multiple of the blocks' size.
RANGE = 256 * 1024**2
# A line end is looked for in this many bytes; then a sentence end, white space and a character.
WINDOW = 64 * 1024

_LINE_END = re.compile(rb"\r\n|[\n\v\f\r]|\xc2\x85|\xe2\x80[\xa8\xa9]")
_SENTENCE_END = re.compile(
    rb"[.!?][\"')\]]*\s|\xe3\x80\x82|\xef\xbc[\x81\x9f]|\xd8\x9f\s|\xdb\x94\s|\xe0\xa5\xa4"
)
_SPACE = re.compile(rb"\s|\xe3\x80\x80")
_CHARACTER = re.compile(rb"[^\x80-\xbf]")


def boundary(source: ObjectReader, offset: int, is_json: bool) -> int:
    """Return where a range that the plan begins or ends at `offset` begins or ends.

    Args:
        source: the object.
        offset: the byte offset in the plan.
        is_json: whether the object is JSON Lines, which only LF may separate.
    """
    if offset == 0 or offset >= source.size:
        return min(offset, source.size)
    window = LONGEST_RECORD if is_json else WINDOW
    source.seek(offset)
    if is_json:
        at = offset
        while at < offset + window and (data := source.read(CHUNK)):
            if (end := data.find(b"\n")) >= 0:
                return at + end + 1
            at += len(data)
        return min(at, source.size)
    data = source.read(window + 1)
    for place in (_LINE_END, _SENTENCE_END, _SPACE):
        # A match that begins in the window may end with the byte after it: CRLF is not torn.
        if (match := place.search(data)) and match.start() < window:
            return offset + match.end()
    match = _CHARACTER.search(data)
    return offset + match.start() if match else source.size


def content(source: ObjectReader, first: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from `first` up to `end`."""
    source.seek(first)
    while first < end and (data := source.read(min(CHUNK, end - first))):
        first += len(data)
        yield data
