"""From the bytes of a text to whole lines in UTF-8, in pieces of bounded size.

Every line end becomes LF, and the last line gets one. A line that is longer than LONGEST_LINE is cut at the
last sentence end before that, else at the last space: a text without line ends has lines like any other.
"""

import codecs
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

from core.errors import DatasetNotText
from uploads.encodings import SAMPLE, Encoding, Guesses, damaged

LONGEST_LINE = 10_000  # characters
# What ends a line, but for LF, CRLF and CR: VT, FF, NEL, U+2028 and U+2029. Each pattern begins with fixed
# bytes, which are found many times faster than one of several.
_OTHER_ENDS = [re.compile(pattern) for pattern in (rb"\v", rb"\f", rb"\xc2\x85", rb"\xe2\x80[\xa8\xa9]")]
# After these, and what may close a quotation, a sentence has ended. Ideographic marks need no space.
SENTENCE_END = r"(?:[.!?…؟։።।॥။។]+[\"'”’»)\]]*(?=\s)|[。！？．｡]+[」』”’）》】]*)"
_SENTENCE_END = re.compile(SENTENCE_END)
_SPACES = (" ", "\t", "\u3000")
# At most this many characters are looked at to find the base of a combining mark.
_MOST_MARKS = 100


def decoded(
    chunks: Iterable[bytes], encoding: Encoding, guesses: Guesses, offset: int = 0
) -> Iterator[bytes]:
    """Yield the text of a file in UTF-8, in pieces that end between two characters.

    Args:
        chunks: the bytes of the file.
        encoding: from `encodings.encoding_of`; its mark is skipped.
        guesses: names the likely encoding of a text that is not Unicode.
        offset: where in the file the chunks begin, for errors.

    Raises:
        DatasetNotText: There is a NUL character.
        DatasetNotUtf8: The text is not in this encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding.codec)()
    rest = text = b""
    skipped = encoding.mark
    for chunk in itertools.chain(chunks, [b""]):
        skip = min(skipped, len(chunk))
        skipped -= skip
        offset += skip
        data = rest + chunk[skip:]
        before, rest = text, b""
        try:
            if encoding.codec != "utf-8":
                text = decoder.decode(data, final=not chunk).encode()
            elif data.isascii():
                text = data
            else:
                _, used = codecs.utf_8_decode(data, "strict", not chunk)
                text, rest = data[:used], data[used:]
        except UnicodeDecodeError as error:
            if encoding.codec != "utf-8":
                raise damaged(encoding, offset) from error
            start = max(0, error.start - SAMPLE // 2)
            around = before[-SAMPLE // 2 :] + data[start : start + SAMPLE]
            raise guesses.error(around, offset + error.start) from error
        if (nul := text.find(b"\0")) >= 0:
            raise DatasetNotText(
                f"It is not text: there is a NUL character near byte {offset + nul:,}. Upload plain text in "
                "UTF-8."
            )
        offset += len(data) - len(rest)
        if text:
            yield text


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the text in pieces of whole lines, each of at most LONGEST_LINE characters and an LF.

    Args:
        pieces: a text in UTF-8, in pieces that end between two characters.
    """
    rest = b""
    for piece in _with_lf(pieces):
        whole, rest = _whole_lines(rest + piece)
        if whole:
            yield whole
    whole, rest = _cut_lines(rest)
    if last := whole + rest:
        yield last if last.endswith(b"\n") else last + b"\n"


def _with_lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces with LF for every line end."""
    held = b""
    for piece in pieces:
        data = held + piece
        held = b""
        if b"\r" in data:
            if data.endswith(b"\r"):  # it may be half of a CRLF
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        for end in _OTHER_ENDS:
            if end.search(data):
                data = end.sub(b"\n", data)
        if data:
            yield data
    if held:
        yield b"\n"


def _whole_lines(data: bytes) -> tuple[bytes, bytes]:
    """Return the whole lines at the start of the data, cut to LONGEST_LINE, and what follows them."""
    end = data.rfind(b"\n") + 1
    start = 0
    # Most lines are short. Steps of LONGEST_LINE find a long one without looking at each.
    while end - start > LONGEST_LINE + 1:
        start = data.rfind(b"\n", start, start + LONGEST_LINE + 1) + 1
        if not start:
            return _cut_lines(data)
    if len(data) - end > 4 * LONGEST_LINE:
        return _cut_lines(data)
    return data[:end], data[end:]


def _cut_lines(data: bytes) -> tuple[bytes, bytes]:
    text = data.decode()
    made = []
    start = 0
    while (end := text.find("\n", start, start + LONGEST_LINE + 1)) >= 0 or len(text) - start > LONGEST_LINE:
        after = end + 1
        if end < 0:
            end, after = _place_to_cut(text, start)
        made.append(text[start:end])
        start = after
    return "".join(f"{line}\n" for line in made).encode(), text[start:].encode()


def _place_to_cut(text: str, start: int) -> tuple[int, int]:
    """Return where the line that begins at `start` ends if it is cut, and where the next begins.

    White space at the cut becomes the line end. The text has more than LONGEST_LINE characters there.
    """
    longest = start + LONGEST_LINE
    place = 0
    # The last sentence end is mostly near, and the line is long.
    for near in (LONGEST_LINE // 20, LONGEST_LINE):
        ends = [match.end() for match in _SENTENCE_END.finditer(text, longest - near, longest + 1)]
        place = max((end for end in ends if end <= longest), default=place)
        if place:
            break
    if not place:
        place = max(text.rfind(space, start + 1, longest + 1) for space in _SPACES)
    if place > 0:
        return place, place + 1 if text[place].isspace() else place
    place = longest
    while place > longest - _MOST_MARKS and unicodedata.category(text[place]).startswith("M"):
        place -= 1
    return place, place
