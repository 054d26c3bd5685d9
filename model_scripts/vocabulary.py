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
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from user_error import UserError

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


def learn(words: Mapping[str, int], counts: npt.NDArray[np.int64], most: int) -> tuple[Vocabulary, TokenIds]:
    """Return the vocabulary of a training text, and the number there of each given word.

    Args:
        words: Distinct words of all splits and their positions in `counts` and in the result, in rising
            order; <unk> and <eos> first.
        counts: How often each word occurs in the training text, which may be never.
        most: The largest size of the vocabulary, <unk> and <eos> included.

    Raises:
        UserError: There is no word to learn.
    """
    replaced = counts[UNKNOWN_ID] >= max(2, FEWEST_UNKNOWN * counts.sum())
    fewest = 1 if replaced else 2
    frequent = counts >= fewest
    frequent[[UNKNOWN_ID, END_OF_LINE_ID]] = False
    by_spelling = sorted(compress(words, frequent))
    if not by_spelling:
        raise UserError("train has no word that occurs twice: there is nothing to learn. Use a longer text.")
    places = np.fromiter(map(words.__getitem__, by_spelling), dtype=np.int64, count=len(by_spelling))
    by_frequency = np.argsort(-counts[places], kind="stable")[: most - 2]

    numbers = np.full(len(words), UNKNOWN_ID, dtype=np.int32)
    numbers[END_OF_LINE_ID] = END_OF_LINE_ID
    numbers[places[by_frequency]] = np.arange(2, len(by_frequency) + 2, dtype=np.int32)
    return Vocabulary([UNKNOWN, END_OF_LINE, *map(by_spelling.__getitem__, by_frequency.tolist())]), numbers
