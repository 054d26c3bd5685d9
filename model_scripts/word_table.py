"""Words numbered at the speed of memory: a hash table whose every step is a numpy pass over a whole block.

A Python loop spends most of its time on making a string of each word, only to find it in a dictionary. Here
no word becomes a string before it is known to be new. In a block of UTF-8 bytes the borders of words are
found for all words at once. The bytes of each word are gathered as 64-bit integers, those after its end as
zeroes, and looked up in an open-addressed table, again all at once: words of up to 8 bytes, as most are, in
one table, those of up to 16, as two integers, in another. Words are compared whole, so nothing rests on
hashes being distinct. Longer words are rare, or where they are not, as in scripts without spaces, few in a
megabyte: a dictionary keeps them.
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
"""The number of b"\\n", the only white space that is a word of its own."""

_LINE_END_KEY = ord("\n")
_WIDTH = 16  # bytes of the longest word that is looked up in a table
_MASKS = np.array([256**length - 1 for length in range(9)], dtype=np.uint64)
"""By a word's length, the bits of 8 bytes that belong to it."""
_ZERO = b"\xff"
"""Stands for a zero byte of the text, as zeroes mark the end of a word. No UTF-8 holds this byte."""

# White space beyond ASCII, in UTF-8: its first bytes are 0xC2 and 0xE1 to 0xE3.
_WIDE_SPACES = [chr(code).encode() for code in range(0x80, 0x10000) if chr(code).isspace()]
_WIDE_CODES = {
    length: np.array([int.from_bytes(space, "big") for space in _WIDE_SPACES if len(space) == length])
    for length in (2, 3)
}


@dataclass(frozen=True)
class Words:
    """The words of a block in their order, ready to be looked up, those of some lengths in place of others.

    to_8: the first 8 bytes of each, or a line end for the words beyond 8 bytes, which stand at `beyond_8`.
    to_16: of these the first and the next 8 bytes, or a line end for those beyond 16, which stand at
    `beyond_16` among them. longer: the latter, whole.
    """

    to_8: Eights
    beyond_8: Positions
    to_16: tuple[Eights, Eights]
    beyond_16: Positions
    longer: list[bytes]


def find_words(block: bytes) -> Words:
    """The words and line ends of a block of text in which only \\n ends a line, cut between words.

    Raises UnicodeDecodeError if the block is not UTF-8; or else WordTable.words will.
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
    """Distinct words, numbered from 2 in no particular order. 0 is no word; 1 is the end of a line."""

    def __init__(self, bits: int = 16) -> None:
        """2**bits is the number of slots of each table to begin with; they grow by themselves."""
        self._to_8, self._to_16 = _Table(1, bits), _Table(2, bits)
        self._longer: dict[bytes, int] = {}
        self._count = LINE_END + 1

    def __len__(self) -> int:
        """One more than the highest number given so far."""
        return self._count

    def number(self, words: Words) -> Numbers:
        """The numbers of a block's words and line ends, in their order; words not met before get new ones."""
        numbers, self._count = self._to_8.look_up([words.to_8], self._count)
        of_longer, self._count = self._to_16.look_up(words.to_16, self._count)
        of_longer[words.beyond_16] = [self._number_longer(word) for word in words.longer]
        numbers[words.beyond_8] = of_longer
        return numbers

    def words(self, first: int) -> list[str]:
        """The words numbered `first` (at least 2) and up. Raises UnicodeDecodeError if one is not UTF-8."""
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
    """The numbers of words given as keys: one 64-bit number each, or two. A line end is always there.

    Collisions go to the next slot (linear probing; Knuth, The Art of Computer Programming 3, 6.4, algorithm
    L), slots are chosen by multiplicative hashing (the same section), at most half of them are taken.
    """

    # Odd numbers without a pattern: 2**64 divided by the golden ratio, and the second prime of xxHash.
    _FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

    def __init__(self, columns: int, bits: int) -> None:
        self._keys = [np.zeros(2**bits, dtype=np.uint64) for _ in range(columns)]  # by number; 0: not here
        self._keys[0][LINE_END] = _LINE_END_KEY
        self._taken = 1
        self._make_slots(bits)

    def look_up(self, keys: Sequence[Eights], unused: int) -> tuple[Numbers, int]:
        """The numbers of words, new ones counting up from `unused`, and the next that is then unused."""
        numbers: Numbers = self._slots.take(self._hash(keys))
        missed = np.flatnonzero(~self._are(numbers, keys))
        if len(missed):
            numbers[missed], unused = self._probe([key[missed] for key in keys], unused)
        return numbers, unused

    def write_keys(self, keys: npt.NDArray[np.uint64], first: int) -> None:
        """Fill in the rows of the words that are here, row 0 being number `first`'s."""
        for column, of_words in enumerate(self._keys):
            part = of_words[first : first + len(keys)]
            keys[: len(part), column] |= part

    def _hash(self, keys: Sequence[Eights]) -> Positions:
        """The slot where the search for each word begins."""
        mixed = keys[0] * self._FACTORS[0]
        for key, factor in zip(keys[1:], self._FACTORS[1:], strict=False):
            mixed += key * factor
        mixed >>= np.uint64(64 - self._bits)
        return mixed.view(np.int64)

    def _are(self, numbers: Numbers, keys: Sequence[Eights]) -> Flags:
        """Whether each number is the word's. An empty slot's number, 0, is nobody's."""
        same: Flags = self._keys[0].take(numbers) == keys[0]
        for of_words, key in zip(self._keys[1:], keys[1:], strict=True):
            same &= of_words.take(numbers) == key
        return same

    def _probe(self, keys: Sequence[Eights], unused: int) -> tuple[Numbers, int]:
        """`look_up` of words not in their first slot, new or not. One may come several times."""
        words = len(keys[0])
        if 2 * (self._taken + words) > len(self._slots):
            self._make_slots((2 * (self._taken + words) - 1).bit_length())
        numbers = np.empty(words, dtype=np.int32)
        asking = np.arange(words)
        slots = self._hash(keys)
        while len(asking):
            empty = np.flatnonzero(self._slots[slots] == 0)
            if len(empty):
                unused = self._add(slots[empty], [key[empty] for key in keys], unused)
            found = self._slots[slots]
            same = self._are(found, keys)
            numbers[asking[same]] = found[same]
            other = np.flatnonzero(~same)
            asking, keys = asking[other], [key[other] for key in keys]
            slots = (slots[other] + 1) & (len(self._slots) - 1)
        return numbers, unused

    def _add(self, slots: Positions, keys: Sequence[Eights], unused: int) -> int:
        """New words into empty slots; where several want one slot, one gets it. The next unused number."""
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
        """2**bits slots, and all words in them anew."""
        self._bits = bits
        self._slots = np.zeros(2**bits, dtype=np.int32)
        # numpy keeps the last of several values for one place: the words met first, which are the most
        # frequent, get their first slot.
        numbers = np.flatnonzero(self._keys[0])[::-1].astype(np.int32)
        slots = self._hash([key[numbers] for key in self._keys])
        while len(numbers):
            empty = np.flatnonzero(self._slots[slots] == 0)
            self._slots[slots[empty]] = numbers[empty]
            homeless = np.flatnonzero(self._slots[slots] != numbers)
            numbers = numbers[homeless]
            slots = (slots[homeless] + 1) & (len(self._slots) - 1)


def _gather(text: bytes, starts: Positions, lengths: Positions) -> Eights:
    """The first 8 bytes of each word, zeroes after the end of shorter ones."""
    windows = np.ndarray(len(text) - 7, dtype="V8", buffer=text, strides=(1,))
    eights = windows[starts].view("<u8")
    eights &= _MASKS.take(lengths, mode="clip")
    return eights


def _find_borders(text: bytes) -> tuple[Positions, Positions]:
    """Where words begin and how long they are. Text begins and ends with white space, and so does each line
    end, which is a word."""
    codes = np.frombuffer(text, dtype=np.uint8)
    # \t; \v to \r; \x1c to the space. Unsigned numbers wrap around, so each comparison is with a range.
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
    """Flag white space beyond ASCII as outside words."""
    leads = np.flatnonzero((codes == 0xC2) | ((codes - np.uint8(0xE1)) < 3))
    two = codes[leads].astype(np.int64) << 8 | codes[leads + 1]
    three = two << 8 | codes[leads + 2]
    for length, found in ((2, two), (3, three)):
        spaces = leads[(found[:, np.newaxis] == _WIDE_CODES[length]).any(axis=1)]
        for place in range(length):
            inside[spaces + place] = False
