"""A table of chunks: the distinct chunks of a text and the words of each.

    we do, do we? we do.        a text, read in blocks
    2  3   4  5   2  6          1. number the chunks between white space (word_table.py)
    3 -> do ￭,   5 -> we ￭?     2. split each distinct chunk into words (tokenizer.py)

The slow tokenizer sees each distinct chunk once, and no Python loop runs over the text.
"""

import unicodedata
from array import array
from collections import Counter, defaultdict
from itertools import accumulate, count

import numpy as np
import numpy.typing as npt

from tokenizer import Tokenizer
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN, UNKNOWN_ID
from word_table import Numbers, Words, WordTable

Counts = npt.NDArray[np.int64]

CHARACTERS_OF_A_CHUNK = 8
"""A chunk takes as much memory as so many characters, besides its own."""


class Chunks:
    """The distinct chunks of a text and the words of each. Chunks are numbered from 2; 1 is a line end.

    Attributes:
        words: The distinct words and their numbers, in rising order; <unk> and <eos> first.
        size: How much memory the table takes, in characters.
    """

    def __init__(self, chosen: Tokenizer) -> None:
        # Looking up a new word gives it the next number.
        self.words = defaultdict(count(2).__next__, {UNKNOWN: UNKNOWN_ID, END_OF_LINE: END_OF_LINE_ID})
        self.size = 0
        self._tokenizer = chosen
        self._table = WordTable()
        # The words of chunk n are _words[_starts[n] : _starts[n + 1]].
        self._words = array("i", [END_OF_LINE_ID])
        self._starts = array("i", [0, 0, 1])

    def __len__(self) -> int:
        """Return one more than the highest number so far."""
        return len(self._table)

    def number(self, block: Words) -> Numbers:
        """Return the numbers of a block's chunks and line ends, in their order.

        Raises:
            UnicodeDecodeError: The block is not UTF-8.
        """
        numbers = self._table.number(block)
        new = self._table.words(len(self._starts) - 1)
        words, lengths = self._tokenizer.split_chunks(new)
        self._words.extend(map(self.words.__getitem__, words))
        self._starts.extend(accumulate(lengths, initial=self._starts.pop()))
        self.size += sum(map(len, new)) + CHARACTERS_OF_A_CHUNK * len(new)
        return numbers

    def arrays(self) -> tuple[Numbers, Numbers]:
        """Return starts and words: those of chunk n are words[starts[n] : starts[n + 1]]."""
        return np.array(self._starts), np.array(self._words)

    def count_words(self, counts: Counts) -> Counts:
        """Return how often each word occurs in a text in which chunk n occurs counts[n] times."""
        weights = np.repeat(counts, np.diff(self._starts))
        # bincount adds weights as floats, which are exact up to 2**53.
        return np.bincount(self._words, weights=weights, minlength=len(self.words)).astype(np.int64)

    def count_characters(self, counts: Counts) -> Counter[str]:
        """Return how often each character occurs in such a text in the normal form NFC.

        One space is counted after each chunk.
        """
        found: Counter[str] = Counter({"\n": int(counts[END_OF_LINE_ID])})
        for chunk, times in zip(self._table.words(2), counts[2:].tolist(), strict=True):
            for character in f"{unicodedata.normalize('NFC', chunk)} ":
                found[character] += times
        return found
