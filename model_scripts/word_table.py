"""Words numbered at the speed of memory: a hash table whose every step is a numpy pass over a whole block.

A Python loop spends most of its time on making a string of each word, only to find it in a dictionary. Here
no word becomes a string before it is known to be new. In a block of UTF-8 bytes the borders of words are
found for all words at once; the first 16 bytes of each word are gathered as two 64-bit integers, zeroes
after its end; these are looked up in an open-addressed table, again all at once. Words of up to 16 bytes,
nearly all words of most languages, are compared whole, so nothing rests on hashes being distinct. Longer
ones are rare, or where they are not, as in scripts without spaces, few in a megabyte: a dictionary keeps
them.

Collisions go to the next slot (linear probing; Knuth, The Art of Computer Programming 3, 6.4, algorithm L),
slots are chosen by multiplicative hashing (the same section), at most half of them are taken.
"""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]
Halves = npt.NDArray[np.uint64]

LINE_END = 1
"""The number of b"\\n", the only white space that is a word of its own."""

_WIDTH = 16  # bytes of a word that are compared in the table: two halves of 8
_KEPT = np.array([[255] * length + [0] * (_WIDTH - length) for length in range(_WIDTH + 1)], dtype=np.uint8)
_MASKS = _KEPT.view(f"V{_WIDTH}").ravel()  # by a word's length, which bits of 16 bytes belong to it

# What str.split() cuts at, as this Python's Unicode tables have it. All takes 1 to 3 bytes in UTF-8.
_SPACES = [chr(code) for code in range(0x10000) if chr(code).isspace()]
_WIDE_SPACES = [space.encode() for space in _SPACES if not space.isascii()]
_WIDE_CODES = {
    length: np.array([int.from_bytes(space, "big") for space in _WIDE_SPACES if len(space) == length])
    for length in (2, 3)
}

_WORD, _NEWLINE, _LEAD = 1, 2, 4  # bits of a byte's class; _LEAD: white space may begin here
_CLASSES = np.full(256, _WORD, dtype=np.uint8)
_CLASSES[[ord(space) for space in _SPACES if space.isascii()]] = 0
_CLASSES[ord("\n")] = _NEWLINE
_CLASSES[[space[0] for space in _WIDE_SPACES]] |= _LEAD
_CLASS_OF_BYTE = _CLASSES.tobytes()

# Odd numbers without a pattern: 2**64 divided by the golden ratio, and the second prime of xxHash.
_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


class WordTable:
    """Distinct words, numbered from 2 in no particular order. 0 is no word; 1 is the end of a line."""

    def __init__(self, bits: int = 17) -> None:
        """2**bits is the number of slots to begin with; the table grows by itself."""
        self._count = 2
        self._low = np.zeros(2**bits, dtype=np.uint64)  # the halves of word n; 0 and 0 for long words
        self._high = np.zeros(2**bits, dtype=np.uint64)
        self._low[LINE_END] = ord("\n")
        self._long: dict[bytes, int] = {}
        self._make_slots(bits)

    def __len__(self) -> int:
        """One more than the highest number given so far."""
        return self._count

    def number(self, block: bytes) -> Numbers:
        """The numbers of a block's words and line ends, in their order; words not met before get new ones.

        The block is UTF-8 in which only \\n ends a line, and is cut between words. Whether it is valid UTF-8
        shows when `words` are asked for.
        """
        data = b" " + block + b" " * _WIDTH
        starts, lengths = _find_words(data)
        by_dictionary = lengths > _WIDTH
        if b"\0" in block:  # zeroes mark the end of a word in the table
            zeroes = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 0)
            by_dictionary[np.searchsorted(starts, zeroes, side="right") - 1] = True
        long = np.flatnonzero(by_dictionary)

        windows = np.ndarray(len(data) - _WIDTH + 1, dtype=f"V{_WIDTH}", buffer=data, strides=(1,))
        halves = windows[starts].view("<u8")
        halves &= _MASKS[np.minimum(lengths, _WIDTH)].view("<u8")
        low, high = halves[0::2], halves[1::2]
        low[long], high[long] = ord("\n"), 0  # found at once and replaced below

        numbers = self._slots.take(self._hash(low, high))
        missed = np.flatnonzero(~self._are(numbers, low, high))
        numbers[missed] = self._probe(low[missed], high[missed])
        numbers[long] = [
            self._number_long(data[start : start + length])
            for start, length in zip(starts[long].tolist(), lengths[long].tolist(), strict=True)
        ]
        return numbers

    def words(self, first: int) -> list[str]:
        """The words numbered `first` (at least 2) and up. Raises UnicodeDecodeError if one is not UTF-8."""
        halves = np.stack([self._low[first : self._count], self._high[first : self._count]], axis=1)
        words: list[bytes] = halves.view(f"S{_WIDTH}").ravel().tolist()
        for word, number in reversed(self._long.items()):
            if number < first:
                break
            words[number - first] = word
        return b"\n".join(words).decode().split("\n") if words else []

    def _number_long(self, word: bytes) -> int:
        number = self._long.get(word)
        if number is None:
            number = self._long[word] = self._count
            self._reserve(1)
            self._count += 1
        return number

    def _hash(self, low: Halves, high: Halves) -> Positions:
        """The slot where the search for each word begins."""
        return ((low * _FACTORS[0] + high * _FACTORS[1]) >> np.uint64(64 - self._bits)).view(np.int64)

    def _are(self, numbers: Numbers, low: Halves, high: Halves) -> npt.NDArray[np.bool_]:
        """Whether each number is the word's. An empty slot's number, 0, is nobody's."""
        same: npt.NDArray[np.bool_] = self._low.take(numbers) == low
        same &= self._high.take(numbers) == high
        return same

    def _probe(self, low: Halves, high: Halves) -> Numbers:
        """The numbers of words that are not in their first slot, new or not; a word may come again and
        again."""
        if 2 * (self._count + len(low)) > len(self._slots):
            self._make_slots((2 * (self._count + len(low)) - 1).bit_length())
        numbers = np.empty(len(low), dtype=np.int32)
        asking = np.arange(len(low))
        slots = self._hash(low, high)
        while len(asking):
            empty = np.flatnonzero(self._slots[slots] == 0)
            if len(empty):
                self._add(low[empty], high[empty], slots[empty])
            found = self._slots[slots]
            same = self._are(found, low, high)
            numbers[asking[same]] = found[same]
            other = np.flatnonzero(~same)
            asking, low, high = asking[other], low[other], high[other]
            slots = (slots[other] + 1) & (len(self._slots) - 1)
        return numbers

    def _add(self, low: Halves, high: Halves, slots: Positions) -> None:
        """New words into empty slots. Where several want one slot, one gets it."""
        claims = np.arange(1, len(slots) + 1, dtype=np.int32)
        self._slots[slots] = claims
        winners = np.flatnonzero(self._slots[slots] == claims)
        self._reserve(len(winners))
        new = slice(self._count, self._count + len(winners))
        self._slots[slots[winners]] = np.arange(new.start, new.stop, dtype=np.int32)
        self._low[new], self._high[new] = low[winners], high[winners]
        self._count = new.stop

    def _reserve(self, more: int) -> None:
        """Room for the halves of `more` words."""
        if self._count + more > len(self._low):
            room = np.zeros(max(len(self._low) // 2, more), dtype=np.uint64)
            self._low = np.concatenate([self._low, room])
            self._high = np.concatenate([self._high, room])

    def _make_slots(self, bits: int) -> None:
        """2**bits slots, and all words in them anew."""
        self._bits = bits
        self._slots = np.zeros(2**bits, dtype=np.int32)
        # numpy keeps the last of several values for one place: the words met first, which are the most
        # frequent, get their first slot.
        numbers = np.flatnonzero(self._low[: self._count])[::-1].astype(np.int32)
        slots = self._hash(self._low[numbers], self._high[numbers])
        while len(numbers):
            empty = np.flatnonzero(self._slots[slots] == 0)
            self._slots[slots[empty]] = numbers[empty]
            homeless = np.flatnonzero(self._slots[slots] != numbers)
            numbers = numbers[homeless]
            slots = (slots[homeless] + 1) & (len(self._slots) - 1)


def _find_words(data: bytes) -> tuple[Positions, Positions]:
    """Where words begin and how long they are, a line end being a word.

    The first byte is a space, and so are the last two.
    """
    classes = np.frombuffer(bytearray(data.translate(_CLASS_OF_BYTE)), dtype=np.uint8)
    if not data.isascii():
        _clear_wide_spaces(data, classes)
    inside = (classes & _WORD).view(np.bool_)
    newline = classes == _NEWLINE
    starts = np.flatnonzero(inside[1:] & ~inside[:-1] | newline[1:])
    ends = np.flatnonzero(inside[:-1] & ~inside[1:] | newline[:-1])
    return starts + 1, ends - starts


def _clear_wide_spaces(data: bytes, classes: npt.NDArray[np.uint8]) -> None:
    """Class white space beyond ASCII as what it is."""
    text = np.frombuffer(data, dtype=np.uint8)
    leads = np.flatnonzero(classes >= _LEAD)
    two = text[leads].astype(np.int64) << 8 | text[leads + 1]
    three = two << 8 | text[leads + 2]
    for length, codes in ((2, two), (3, three)):
        found = leads[(codes[:, np.newaxis] == _WIDE_CODES[length]).any(axis=1)]
        for place in range(length):
            classes[found + place] = 0
