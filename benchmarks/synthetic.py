"""Text of a given length and vocabulary, whose words are as unevenly frequent as a language's.

Words follow Zipf's law: the r-th most frequent is drawn with probability 1/r over their sum. There is little
to learn from such text, but it costs what real text of that length and vocabulary costs.
"""

from pathlib import Path

import numpy as np

from benchmarks.data import SPLITS, UNKNOWN

WORDS_A_LINE = 25
LINES_AT_ONCE = 40_000
HELD_OUT_WORDS = 20_000


def write(folder: Path, words: int, vocabulary: int) -> Path:
    """train, of `words` words with each of the vocabulary in it, and short valid and test. The same arguments
    give the same text."""
    if vocabulary > words:
        raise ValueError(f"{words} words cannot hold a vocabulary of {vocabulary}.")
    folder.mkdir(parents=True)
    # Text with <unk> keeps every word, however rare (vocabulary.py).
    spellings = np.array([UNKNOWN, *(f"w{number}" for number in range(1, vocabulary))], dtype=object)
    upto = np.cumsum(1 / np.arange(1, vocabulary + 1))
    for number, split in enumerate(SPLITS):
        chance = np.random.default_rng(number)
        count = words if split == "train" else HELD_OUT_WORDS
        drawn = np.searchsorted(upto, chance.random(count) * upto[-1]).astype(np.int32)
        if split == "train":
            # Each word at least once, at places drawn like all else.
            drawn[chance.choice(count, vocabulary, replace=False)] = np.arange(vocabulary)
        write_lines(folder / split, spellings, drawn)
    return folder


def write_lines(path: Path, spellings: np.ndarray, drawn: np.ndarray) -> None:
    with path.open("w", encoding="utf-8") as file:
        block = WORDS_A_LINE * LINES_AT_ONCE
        for start in range(0, len(drawn), block):
            words = spellings[drawn[start : start + block]].tolist()
            lines = (words[row : row + WORDS_A_LINE] for row in range(0, len(words), WORDS_A_LINE))
            file.write("".join(f"{' '.join(line)}\n" for line in lines))
