"""The encoding of a text: UTF-8, UTF-16 and UTF-32 are read; the name of another is guessed for the error."""

import codecs
import unicodedata
from collections import Counter
from typing import NamedTuple

from core.errors import DatasetNotText, DatasetNotUtf8, InvalidDataset

# The guess is made from this many bytes around the first one that is not UTF-8.
SAMPLE = 16 * 1024
# A guess may take a second. After this many, the files of an item are said to be like those before.
MOST_GUESSES = 20
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    # UTF-32's mark begins as UTF-16's does, so it is looked for first.
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# What a text in UTF-16 is known by: white space and punctuation, in half of the scripts' own forms.
_COMMON = frozenset(" \n\r\t.,。，、؟،।")
_PUNCTUATION = frozenset("«»„“”‘’–—…·¿¡§°\xa0、。，！？：；（）《》「」『』〈〉【】～\u3000،؛؟")
# The encodings that files have. Libraries know a hundred, and a rare one often fits a short text as well as
# the right one does. Where two decode a text alike, the first here is named.
_USUAL = (
    "cp1252", "cp1251", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1250", "cp1253", "cp1254", "cp1255",
    "cp1256", "cp1257", "cp1258", "cp874", "koi8_r", "koi8_u", "cp866", "iso8859_2", "iso8859_5", "iso8859_7",
    "iso2022_jp", "iso2022_kr", "cp850", "cp852", "mac_roman", "mac_cyrillic",
)  # fmt: skip
# iconv's names where they are not Python's in capitals with hyphens.
_ICONV = {
    "latin_1": "ISO-8859-1", "mac_roman": "MACINTOSH", "mac_latin2": "MAC-CENTRALEUROPE", "hz": "HZ",
    "kz1048": "RK1048", "shift_jis": "SHIFT_JIS", "shift_jis_2004": "SHIFT_JISX0213",
    "shift_jisx0213": "SHIFT_JISX0213", "euc_jis_2004": "EUC-JISX0213", "iso2022_jp": "ISO-2022-JP",
    "iso2022_kr": "ISO-2022-KR", "big5hkscs": "BIG5-HKSCS",
}  # fmt: skip


class Encoding(NamedTuple):
    """A codec of Python, the length of the byte order mark, and a note if it is not UTF-8."""

    codec: str
    mark: int
    note: str


UTF_8 = Encoding("utf-8", 0, "")


def encoding_of(head: bytes, is_whole: bool) -> Encoding:
    """Return the encoding of a text that begins with these bytes; UTF-8 if no other fits.

    Args:
        head: the first bytes.
        is_whole: whether they are the whole text.
    """
    for mark, codec in _MARKS.items():
        if head.startswith(mark):
            return Encoding(codec, len(mark), _note(codec, "") if codec != "utf-8" else "")
    if is_utf_8(head, is_whole):
        return UTF_8
    for codec in ("utf-32-le", "utf-32-be"):
        if len(head) >= 4 and _decodes(head, codec, is_whole):
            return Encoding(codec, 0, _note(codec, ", which it does not say"))
    scores = {codec: _score_of_utf_16(head, codec, is_whole) for codec in ("utf-16-le", "utf-16-be")}
    codec = max(scores, key=lambda each: scores[each])
    return Encoding(codec, 0, _note(codec, ", which it does not say")) if scores[codec] > 0 else UTF_8


def is_utf_8(head: bytes, is_whole: bool) -> bool:
    """Return whether the bytes are text in UTF-8. Unless they are the whole, a character may be cut off."""
    return b"\0" not in head and _decodes(head, "utf-8", is_whole)


def damaged(encoding: Encoding, offset: int) -> DatasetNotUtf8:
    """Return the error for a text in UTF-16 or UTF-32 that is damaged after this byte."""
    return DatasetNotUtf8(
        f"It is {_name(encoding.codec)}, and damaged somewhere after byte {offset:,}. Upload it again, or "
        "save it as plain text in UTF-8."
    )


def _note(codec: str, unmarked: str) -> str:
    return f"It was read as {_name(codec)}{unmarked}."


def _name(codec: str) -> str:
    return codec.upper().replace("-LE", "LE").replace("-BE", "BE")


def _decodes(head: bytes, codec: str, is_whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(head, final=is_whole)
    except UnicodeDecodeError:
        return False
    return True


def _score_of_utf_16(head: bytes, codec: str, is_whole: bool) -> float:
    """Return the share of common characters in bytes that may be UTF-16; 0 if they are not."""
    if len(head) < 4 or not _decodes(head, codec, is_whole):
        return 0
    text = codecs.getincrementaldecoder(codec)().decode(head)
    counts = Counter(text)
    strange = sum(
        number
        for character, number in counts.items()
        if unicodedata.category(character) in ("Cc", "Cn", "Co") and character not in "\n\r\t\f"
    )
    if strange > len(text) / 50:
        return 0
    return sum(counts[character] for character in _COMMON) / len(text)


class Guesses:
    """The likely encodings of the texts of one item that are not Unicode."""

    def __init__(self) -> None:
        self._guessed: Counter[str] = Counter()

    def error(self, sample: bytes, offset: int) -> InvalidDataset:
        """Return the error for a text that is not UTF-8.

        Args:
            sample: bytes of the text.
            offset: where its first byte that is not UTF-8 is, for the message.
        """
        if b"\0" in sample or _control_characters(sample) > len(sample) / 50:
            return DatasetNotText(
                f"It is binary: byte {offset:,} is not text. Upload plain text in UTF-8, packed or not."
            )
        if _is_damaged_utf_8(sample):
            return DatasetNotUtf8(
                f"It is UTF-8 with a damaged byte at {offset:,}. Upload it again, or repair it with "
                "`iconv -c -f UTF-8 -t UTF-8 OLD > NEW`, which leaves such bytes out."
            )
        if sum(self._guessed.values()) < MOST_GUESSES:
            encoding = _guess(sample)
            self._guessed[encoding] += 1
        else:
            encoding = self._guessed.most_common(1)[0][0]
        if not encoding:
            return DatasetNotUtf8(
                f"It is not UTF-8: byte {offset:,} is invalid, and its encoding is not known. It may be "
                "damaged. Save it as plain text in UTF-8, and upload it again."
            )
        return DatasetNotUtf8(
            f"It is not UTF-8: byte {offset:,} is invalid. It is probably {encoding}. Convert it with "
            f"`iconv -f {encoding} -t UTF-8 OLD > NEW`, look whether the new file is readable, and upload it."
        )


def _is_damaged_utf_8(sample: bytes) -> bool:
    """Return whether nearly all of the characters that are not ASCII are valid UTF-8."""
    foreign = [character for character in sample.decode("utf-8", "replace") if not character.isascii()]
    return foreign.count("\ufffd") < len(foreign) / 4


def _control_characters(sample: bytes) -> int:
    printable = sample.translate(None, bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b"))
    return len(sample) - len(printable)


def _guess(sample: bytes) -> str:
    """Return iconv's name of the likely encoding; an empty string if none is likely."""
    # Imported here: the functions of the other steps have no use for it, and it takes a moment.
    from charset_normalizer import from_bytes

    sample = sample[: max(sample.rfind(space) for space in (b"\n", b" ")) + 1] or sample  # no half characters
    matches = list(from_bytes(sample, cp_isolation=list(_USUAL), threshold=0.5)) or list(from_bytes(sample))
    if not matches:
        return ""
    # How strange the text would look. `chaos` finds accents that do not go together, but not "gę¶".
    strange = {match.encoding: match.chaos + _share_of_symbols(str(match)) for match in matches}
    least = min(strange.values())
    # `coherence` is how well the letters fit a language. Many texts of Western Europe are ASCII but for a few
    # letters, which other code pages have, too.
    best = max(
        (match for match in matches if strange[match.encoding] <= least + 0.05),
        key=lambda match: match.coherence + (0.05 if match.encoding == _USUAL[0] else 0),
    )
    alike = best.could_be_from_charset
    return iconv_name(next((codec for codec in _USUAL if codec in alike), best.encoding))


def _share_of_symbols(text: str) -> float:
    """Return how many of the characters that are not ASCII are neither letters nor ordinary punctuation."""
    foreign = [character for character in text if not character.isascii()]
    letters = sum(unicodedata.category(character)[0] in "LMN" for character in foreign)
    marks = sum(character in _PUNCTUATION for character in foreign)
    return 1 - (letters + marks) / max(1, len(foreign))


def iconv_name(codec: str) -> str:
    """Return the name by which iconv knows a codec of Python."""
    return _ICONV.get(codec) or codec.upper().replace("ISO8859", "ISO-8859").replace("_", "-")
