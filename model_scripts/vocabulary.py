"""The vocabulary: the words that a model knows, learnt from the training text alone, and their numbers.

    0 <unk>   1 <eos>   2 the   3 of   ...     by falling frequency; equally frequent words by spelling

Every line of a corpus ends with one <eos>, blank lines too, as in PyTorch's word_language_model example, so
counts and perplexities can be compared with published ones.

A model can only predict <unk> if <unk> occurs in training. A text whose rare words are <unk> already
(WikiText) keeps all its words. In any other text, words that occur once become <unk>. If more words are left
than the vocabulary may have (the hyperparameter max_vocabulary), the rarest become <unk>, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
UNKNOWN_ID = 0
END_OF_LINE_ID = 1

FEWEST_UNKNOWN = 0.001
"""The share of <unk> from which rare words count as replaced: in WikiText-103 it is 0.004.

A single <unk> never counts. It may be any word in an ordinary text.
"""

TokenIds = npt.NDArray[np.int32]


class Vocabulary:
    """The words by number. words[0] is <unk>, words[1] is <eos>."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The numbers by word."""
        return dict(zip(self.words, range(len(self.words)), strict=True))

    def encode(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of words; that of <unk> for unknown words."""
        return [self.numbers.get(word, UNKNOWN_ID) for word in words]

    def save(self, path: Path) -> None:
        """Write one word a line, in the order of their numbers, as UTF-8."""
        path.write_text("\n".join(self.words) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote."""
        # Only \n ends a word: str.splitlines would also split at Unicode's other line separators.
        return cls(path.read_bytes().decode("utf-8").removesuffix("\n").split("\n"))


class MostFrequent:
    """The most frequent words of a text, given the counts of its words some at a time.

    Attributes:
        candidates: How many words occurred often enough.
    """

    def __init__(self, most: int, fewest: int) -> None:
        """Look for at most `most` words that occur at least `fewest` times."""
        self.candidates = 0
        self._most, self._fewest = most, fewest
        self._counts: dict[str, int] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """Add words that were not added before, with their counts. <unk> and <eos> do not count."""
        enough = {word: count for word, count in counts.items() if count >= self._fewest}
        for word in (UNKNOWN, END_OF_LINE):
            enough.pop(word, None)
        self.candidates += len(enough)
        self._counts.update(enough)
        if len(self._counts) > 2 * self._most:
            self._counts = self.words()

    def words(self) -> dict[str, int]:
        """Return the words by falling count; equally frequent words by spelling."""
        by_spelling = sorted(self._counts)
        counts = np.fromiter(map(self._counts.__getitem__, by_spelling), np.int64, count=len(by_spelling))
        order = np.argsort(-counts, kind="stable")[: self._most].tolist()
        return {by_spelling[place]: self._counts[by_spelling[place]] for place in order}


def fewest_to_learn(unknown: int, total: int) -> int:
    """Return how often a word must occur in train to be learnt.

    Args:
        unknown: How many tokens of train are literally <unk>.
        total: How many tokens train has.
    """
    return 1 if unknown >= max(2, FEWEST_UNKNOWN * total) else 2
