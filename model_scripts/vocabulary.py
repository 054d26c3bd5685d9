"""The words a model knows, learnt from the training text alone, and text as their numbers.

Numbers go by falling frequency, ties by spelling, after <unk> and <eos>; so the same text always gives the
same vocabulary. Every line of a corpus ends in one <eos>, blank lines too, as in PyTorch's
word_language_model example: counts and perplexities then compare with published ones.

A model can only score <unk> if it met some in training. Text that brings its own <unk> (WikiText) keeps
every word it holds. In all other text the words that occur once become <unk>. No other limit is put on the
vocabulary.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import compress
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
        return dict(zip(self.words, range(len(self.words)), strict=True))

    def encode(self, words: Iterable[str]) -> list[int]:
        """The numbers of words, <unk>'s for those the vocabulary does not hold."""
        return [self.numbers.get(word, UNKNOWN_ID) for word in words]

    def save(self, path: Path) -> None:
        """One word a line, in the order of their numbers, UTF-8."""
        path.write_text("\n".join(self.words) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        # Only \n ends an entry: str.splitlines would also cut at the rarer line separators of Unicode.
        return cls(path.read_bytes().decode("utf-8").removesuffix("\n").split("\n"))


def learn(words: Mapping[str, int], counts: npt.NDArray[np.int64]) -> tuple[Vocabulary, TokenIds]:
    """The vocabulary of a training text, and for each word met the number it has there.

    words: the distinct words met and their places in `counts` and in the answer, in ascending order, <unk>
    and <eos> first. counts: how often each stands in the training text, which may be nowhere. Raises
    UserError if no word is left to learn.
    """
    fewest = 1 if counts[UNKNOWN_ID] else 2
    enough = counts >= fewest
    enough[[UNKNOWN_ID, END_OF_LINE_ID]] = False
    by_spelling = sorted(compress(words, enough))
    if not by_spelling:
        raise UserError("train holds no word that occurs twice: there is nothing to learn from it.")
    places = np.fromiter(map(words.__getitem__, by_spelling), dtype=np.int64, count=len(by_spelling))
    by_frequency = np.argsort(-counts[places], kind="stable")

    numbers = np.full(len(words), UNKNOWN_ID, dtype=np.int32)
    numbers[END_OF_LINE_ID] = END_OF_LINE_ID
    numbers[places[by_frequency]] = np.arange(2, len(by_spelling) + 2, dtype=np.int32)
    return Vocabulary([UNKNOWN, END_OF_LINE, *map(by_spelling.__getitem__, by_frequency.tolist())]), numbers
