"""Synthetic text of a given length and vocabulary, with the word frequencies of a language.

Words follow Zipf's law: the probability of the r-th most frequent word is proportional to 1/r. There is
little to learn from this text, but training costs as much as with real text of that length and vocabulary.
"""

from pathlib import Path

import numpy as np

from benchmarks.data import SPLITS, UNKNOWN

WORDS_A_LINE = 25
LINES_AT_ONCE = 40_000
HELD_OUT_WORDS = 20_000


def write(folder: Path, words: int, vocabulary: int) -> Path:
    """Write a train text that contains each word of the vocabulary, and short valid and test texts.

    The same arguments give the same text.
    """
    if vocabulary > words:
        raise ValueError(f"A text of {words} words cannot have a vocabulary of {vocabulary}.")
    folder.mkdir(parents=True)
    # A text with <unk> keeps every word, even if it occurs once (vocabulary.py).
    spellings = np.array([UNKNOWN, *(f"w{number}" for number in range(1, vocabulary))], dtype=object)
    cumulative = np.cumsum(1 / np.arange(1, vocabulary + 1))
    for number, split in enumerate(SPLITS):
        chance = np.random.default_rng(number)
        count = words if split == "train" else HELD_OUT_WORDS
        drawn = np.searchsorted(cumulative, chance.random(count) * cumulative[-1]).astype(np.int32)
        if split == "train":
            # Put each word at a random place, so that all occur.
            drawn[chance.choice(count, vocabulary, replace=False)] = np.arange(vocabulary)
        write_lines(folder / split, spellings, drawn)
    return folder


def write_lines(path: Path, spellings: np.ndarray, drawn: np.ndarray) -> None:
    """Write words, given as indices of `spellings`, in lines of WORDS_A_LINE."""
    with path.open("w", encoding="utf-8") as file:
        block = WORDS_A_LINE * LINES_AT_ONCE
        for start in range(0, len(drawn), block):
            words = spellings[drawn[start : start + block]].tolist()
            lines = (words[row : row + WORDS_A_LINE] for row in range(0, len(words), WORDS_A_LINE))
            file.write("".join(f"{' '.join(line)}\n" for line in lines))
