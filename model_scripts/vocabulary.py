"""The words a model knows, learnt from the training text alone, and text as their numbers.

Numbers go by falling frequency, ties by spelling, after <unk> and <eos>; so the same text always gives the
same vocabulary. Every line of a corpus ends in one <eos>, blank lines too, as in PyTorch's
word_language_model example: counts and perplexities then compare with published ones.

A model can only score <unk> if it met some in training. Text that brings its own <unk> (WikiText) keeps
every word it holds. In all other text the words that occur once become <unk>. No other limit is put on the
vocabulary.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from user_error import UserError

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
UNKNOWN_ID = 0
END_OF_LINE_ID = 1

TokenIds = npt.NDArray[np.int32]


class Vocabulary:
    """Words by number and numbers by word. words[0] is <unk>, words[1] is <eos>."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, words: Iterable[str]) -> list[int]:
        """The numbers of words, <unk>'s for those the vocabulary does not hold."""
        return [self.numbers.get(word, UNKNOWN_ID) for word in words]

    def encode_lines(self, lines: Iterable[Sequence[str]]) -> TokenIds:
        """A whole split as one run of numbers, an <eos> after each line."""
        ids = array("i")
        for words in lines:
            ids.extend(self.encode(words))
            ids.append(END_OF_LINE_ID)
        return np.frombuffer(ids, dtype=np.int32)

    def save(self, path: Path) -> None:
        """One word a line, in the order of their numbers, UTF-8."""
        path.write_text("\n".join(self.words) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        # Only \n ends an entry: str.splitlines would also cut at the rarer line separators of Unicode.
        return cls(path.read_bytes().decode("utf-8").removesuffix("\n").split("\n"))


def learn(lines: Iterable[Sequence[str]]) -> tuple[Vocabulary, TokenIds]:
    """The vocabulary of the training text and that text as numbers, reading it once.

    Words are numbered as they come and renumbered at the end, so memory is 4 bytes a token plus the distinct
    words. Raises UserError if no word is left to learn.
    """
    first_seen = {UNKNOWN: UNKNOWN_ID, END_OF_LINE: END_OF_LINE_ID}
    ids = array("i")
    for words in lines:
        ids.extend([first_seen.setdefault(word, len(first_seen)) for word in words])
        ids.append(END_OF_LINE_ID)
    tokens: TokenIds = np.frombuffer(ids, dtype=np.int32)

    counts = np.bincount(tokens, minlength=len(first_seen))
    fewest = 1 if counts[UNKNOWN_ID] else 2
    words_seen = list(first_seen)
    kept = [number for number in range(2, len(words_seen)) if counts[number] >= fewest]
    if not kept:
        raise UserError("train holds no word that occurs twice: there is nothing to learn from it.")
    kept.sort(key=lambda number: (-counts[number], words_seen[number]))

    renumbered = np.full(len(words_seen), UNKNOWN_ID, dtype=np.int32)
    renumbered[END_OF_LINE_ID] = END_OF_LINE_ID
    renumbered[kept] = np.arange(2, len(kept) + 2, dtype=np.int32)
    return Vocabulary([UNKNOWN, END_OF_LINE, *(words_seen[number] for number in kept)]), renumbered[tokens]
