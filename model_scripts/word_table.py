"""Number words fast: a hash table in which each operation is a numpy pass over all words of a block.

A Python loop spends most of its time on making a string of each word to look up in a dictionary. Here only
new words become strings. In a block of UTF-8 bytes, the borders of all words are found at once. Each word's
bytes become 64-bit integers, padded with zeros, which are looked up in an open-addressed table:

    up to 8 bytes (most words)   one integer, in a table of its own
    9 to 16 bytes                two integers, in a second table
    longer                       a dictionary: they are rare, or few in a megabyte (scripts without spaces)

Words are compared whole, so equal hashes cause no errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Eights = npt.NDArray[np.uint64]  # 8 bytes of each word, as little-endian numbers

LINE_END = 1
"""The number of b"\\n", the only white space that counts as a word."""

_LINE_END_KEY = ord("\n")
_WIDTH = 16  # bytes of the longest word that is looked up in a table
_MASKS = np.array([256**length - 1 for length in range(9)], dtype=np.uint64)
"""The bits of 8 bytes that belong to a word, by the word's length."""
_ZERO = b"\xff"
"""Replaces zero bytes of the text, because zeros mark the end of a word. UTF-8 has no such byte."""

# White space outside ASCII. In UTF-8 its first byte is 0xC2 or from 0xE1 to 0xE3.
_WIDE_SPACES = [chr(code).encode() for code in range(0x80, 0x10000) if chr(code).isspace()]
_WIDE_CODES = {
    length: np.array([int.from_bytes(space, "big") for space in _WIDE_SPACES if len(space) == length])
    for length in (2, 3)
}


@dataclass(frozen=True)
class Words:
    """The words of a block in their order, as keys to look up.

    Attributes:
        to_8: Each word's first 8 bytes; a line end in place of a word of more than 8 bytes.
        beyond_8: The positions of the words of more than 8 bytes.
        to_16: The first and the next 8 bytes of those words; a line end in place of a word of more than 16.
        beyond_16: The positions, among those words, of the words of more than 16 bytes.
        longer: The words of more than 16 bytes.
    """

    to_8: Eights
    beyond_8: Positions
    to_16: tuple[Eights, Eights]
    beyond_16: Positions
    longer: list[bytes]


def find_words(block: bytes) -> Words:
    """Find the words and line ends of a block that ends between words; only a newline ends a line.

    Raises:
        UnicodeDecodeError: The block has a byte 0xFF. WordTable.words finds all other errors of encoding.
    """
    if _ZERO in block:
        block.decode()
    text = b" " + block.replace(b"\0", _ZERO).replace(b"\n", b" \n ") + b" " * _WIDTH
    starts, lengths = _find_borders(text)
    to_8 = _gather(text, starts, lengths)
    beyond_8 = np.flatnonzero(lengths > 8)
    to_8[beyond_8] = _LINE_END_KEY

    starts, lengths = starts[beyond_8], lengths[beyond_8]
    to_16 = _gather(text, starts, lengths), _gather(text, starts + 8, lengths - 8)
    beyond_16 = np.flatnonzero(lengths > _WIDTH)
    to_16[0][beyond_16], to_16[1][beyond_16] = _LINE_END_KEY, 0

    starts, ends = starts[beyond_16], starts[beyond_16] + lengths[beyond_16]
    longer = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return Words(to_8, beyond_8, to_16, beyond_16, longer)


class WordTable:
    """Distinct words, numbered from 2 in no particular order. 0 is no word, 1 is a line end."""

    def __init__(self, bits: int = 16) -> None:
        """Make tables with 2**bits slots each, which grow as needed."""
        self._to_8, self._to_16 = _Table(1, bits), _Table(2, bits)
        self._longer: dict[bytes, int] = {}
        self._count = LINE_END + 1

    def __len__(self) -> int:
        """Return one more than the highest number so far."""
        return self._count

    def number(self, words: Words) -> Numbers:
        """Return a block of text as word numbers, one for each word or line end, in order.

        A word that is seen for the first time gets the next free number.
        """
        numbers, self._count = self._to_8.look_up([words.to_8], self._count)
        of_longer, self._count = self._to_16.look_up(words.to_16, self._count)
        of_longer[words.beyond_16] = [self._number_longer(word) for word in words.longer]
        numbers[words.beyond_8] = of_longer
        return numbers

    def words(self, first: int) -> list[str]:
        """Return the words from number `first` (at least 2) on. Raises UnicodeDecodeError."""
        keys = np.zeros((self._count - first, 2), dtype="<u8")
        self._to_8.write_keys(keys, first)
        self._to_16.write_keys(keys, first)
        words: list[bytes] = keys.view(f"S{_WIDTH}").ravel().tolist()
        for word, number in reversed(self._longer.items()):
            if number < first:
                break
            words[number - first] = word
        return b"\n".join(words).replace(_ZERO, b"\0").decode().split("\n") if words else []

    def _number_longer(self, word: bytes) -> int:
        number = self._longer.get(word)
        if number is None:
            number = self._longer[word] = self._count
            self._count += 1
        return number


class _Table:
    """A hash table from words, as one or two 64-bit keys each, to numbers. It always contains the line end.

    Multiplicative hashing chooses a slot; a collision goes to the next slot (linear probing; Knuth, The Art
    of Computer Programming 3, 6.4, algorithm L). At most half of the slots are in use.
    """

    # One factor for each column of keys. They are odd, and their bits have no pattern: 2**64 divided by the
    # golden ratio, and xxHash's second prime.
    _FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

    def __init__(self, columns: int, bits: int) -> None:
        self._keys = [np.zeros(2**bits, dtype=np.uint64) for _ in range(columns)]  # by number; 0: none
        self._keys[0][LINE_END] = _LINE_END_KEY
        self._taken = 1
        self._make_slots(bits)

    def look_up(self, keys: Sequence[Eights], unused: int) -> tuple[Numbers, int]:
        """Return the numbers of words, and the next unused number. New words get numbers from `unused` on."""
        numbers: Numbers = self._slots.take(self._hash(keys))
        missed = np.flatnonzero(~self._are(numbers, keys))
        if len(missed):
            numbers[missed], unused = self._probe([key[missed] for key in keys], unused)
        return numbers, unused

    def write_keys(self, keys: npt.NDArray[np.uint64], first: int) -> None:
        """Write this table's words into their rows of `keys`. Row 0 is that of number `first`."""
        for column, of_words in enumerate(self._keys):
            part = of_words[first : first + len(keys)]
            keys[: len(part), column] |= part

    def _hash(self, keys: Sequence[Eights]) -> Positions:
        """Return the slot where the search for each word begins."""
        mixed = keys[0] * self._FACTORS[0]
        for key, factor in zip(keys[1:], self._FACTORS[1:], strict=False):
            mixed += key * factor
        mixed >>= np.uint64(64 - self._bits)
        return mixed.view(np.int64)

    def _are(self, numbers: Numbers, keys: Sequence[Eights]) -> Flags:
        """Return whether each number is that of the word. 0, the number of an empty slot, never is."""
        same: Flags = self._keys[0].take(numbers) == keys[0]
        for of_words, key in zip(self._keys[1:], keys[1:], strict=True):
            same &= of_words.take(numbers) == key
        return same

    def _probe(self, keys: Sequence[Eights], unused: int) -> tuple[Numbers, int]:
        """Look up words that are not in their first slot. A word may be new, and may occur several times."""
        words = len(keys[0])
        if 2 * (self._taken + words) > len(self._slots):
            self._make_slots((2 * (self._taken + words) - 1).bit_length())
        numbers = np.empty(words, dtype=np.int32)
        searching = np.arange(words)
        slots = self._hash(keys)
        while len(searching):
            empty = np.flatnonzero(self._slots[slots] == 0)
            if len(empty):
                unused = self._add(slots[empty], [key[empty] for key in keys], unused)
            found = self._slots[slots]
            same = self._are(found, keys)
            numbers[searching[same]] = found[same]
            other = np.flatnonzero(~same)
            searching, keys = searching[other], [key[other] for key in keys]
            slots = (slots[other] + 1) & (len(self._slots) - 1)
        return numbers, unused

    def _add(self, slots: Positions, keys: Sequence[Eights], unused: int) -> int:
        """Put new words into empty slots and return the next unused number. Of several per slot, put one."""
        claims = np.arange(1, len(slots) + 1, dtype=np.int32)
        self._slots[slots] = claims
        winners = np.flatnonzero(self._slots[slots] == claims)
        numbers = np.arange(unused, unused + len(winners), dtype=np.int32)
        self._slots[slots[winners]] = numbers
        self._taken += len(winners)
        unused += len(winners)
        for column, key in enumerate(keys):
            if unused > len(self._keys[column]):
                room = np.zeros(unused + unused // 2 - len(self._keys[column]), dtype=np.uint64)
                self._keys[column] = np.concatenate([self._keys[column], room])
            self._keys[column][numbers] = key[winners]
        return unused

    def _make_slots(self, bits: int) -> None:
        """Make 2**bits slots and put all words into them."""
        self._bits = bits
        self._slots = np.zeros(2**bits, dtype=np.int32)
        # If several words are assigned to one slot, numpy keeps the last. The order is reversed so that the
        # words with the lowest numbers, mostly frequent ones, keep their first slot.
        numbers = np.flatnonzero(self._keys[0])[::-1].astype(np.int32)
        slots = self._hash([key[numbers] for key in self._keys])
        while len(numbers):
            empty = np.flatnonzero(self._slots[slots] == 0)
            self._slots[slots[empty]] = numbers[empty]
            left = np.flatnonzero(self._slots[slots] != numbers)
            numbers = numbers[left]
            slots = (slots[left] + 1) & (len(self._slots) - 1)


def _gather(text: bytes, starts: Positions, lengths: Positions) -> Eights:
    """Return the first 8 bytes of each word, with zeros after the end of a shorter one."""
    windows = np.ndarray(len(text) - 7, dtype="V8", buffer=text, strides=(1,))
    eights = windows[starts].view("<u8")
    eights &= _MASKS.take(lengths, mode="clip")
    return eights


def _find_borders(text: bytes) -> tuple[Positions, Positions]:
    """Return where words begin and how long they are.

    The text begins and ends with white space. Each line end is a word with white space around it.
    """
    codes = np.frombuffer(text, dtype=np.uint8)
    # White space: \x1c to the space; \v to \r; \t. Unsigned numbers wrap around, so each `>` tests a range.
    inside = (codes - np.uint8(28)) > 4
    inside &= (codes - np.uint8(11)) > 2
    inside &= codes != 9
    if not text.isascii():
        _clear_wide_spaces(codes, inside)
    borders = np.flatnonzero(inside[1:] != inside[:-1])
    borders += 1
    starts = borders[0::2]
    return starts, borders[1::2] - starts


def _clear_wide_spaces(codes: npt.NDArray[np.uint8], inside: Flags) -> None:
    """Mark white space outside ASCII as outside words."""
    leads = np.flatnonzero((codes == 0xC2) | ((codes - np.uint8(0xE1)) < 3))
    two = codes[leads].astype(np.int64) << 8 | codes[leads + 1]
    three = two << 8 | codes[leads + 2]
    for length, found in ((2, two), (3, three)):
        spaces = leads[(found[:, np.newaxis] == _WIDE_CODES[length]).any(axis=1)]
        for place in range(length):
            inside[spaces + place] = False
