"""Read a corpus: three splits become word numbers on disk and a vocabulary.

    we do, do we? we do.        a text, read in blocks
    2  3   4  5   2  6          1. number the chunks between white space (chunks.py, numbered_text.py)
    we 3, do 3, ￭, 1, ...       2. count the words and number them by frequency (vocabulary.py)
    3  2 4 2  3 6  3  2 5       3. replace each chunk's number by the numbers of its words

Processes and ranks share the work, and the result does not depend on their number. Memory holds a table of
chunks, the vocabulary and some blocks of text, however large the corpus is. A token takes 4 bytes of disk.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import distributed
import hyperparameters
import numbered_text
import split_files
import tokenizer
import vocabulary
from numbered_text import NumberedText, Tokens
from user_error import UserError
from vocabulary import END_OF_LINE, UNKNOWN, MostFrequent, Vocabulary

SPECIAL = 2
"""The number of words that every vocabulary has: <unk> and <eos>."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A corpus with its vocabulary.

    Attributes:
        text: The splits.
        vocabulary: The words of train.
        counts: How often each of them occurs in train.
        left_out: How many more words of train the vocabulary would have without max_vocabulary.
        unknown_words: How many different words of test are not in the vocabulary.
    """

    text: NumberedText
    vocabulary: Vocabulary
    counts: npt.NDArray[np.int64]
    left_out: int
    unknown_words: int

    @property
    def tokenizer(self) -> str:
        """The name of the tokenizer that split the text."""
        return self.text.tokenizer

    @property
    def lengths(self) -> Mapping[str, int]:
        """The number of tokens of each split, with an <eos> after each line."""
        return self.text.lengths

    def encode(self, needed: Mapping[str, range]) -> dict[str, Tokens]:
        """Return splits as word numbers, once. needed: the places of the tokens that this rank needs."""
        return self.text.encode(self.vocabulary, needed)


def read(
    channel: Path,
    wanted_tokenizer: str,
    scratch: Path,
    max_vocabulary: int = hyperparameters.MAX_VOCABULARY,
    block_bytes: int = split_files.BLOCK_BYTES,
) -> Corpus:
    """Read the corpus in a folder. Every rank calls this.

    Args:
        channel: The folder.
        wanted_tokenizer: A name in tokenizer.CHOICES, or `auto` to choose the tokenizer that fits train.
        scratch: This rank's folder for files that are as large as the corpus.
        max_vocabulary: The most words of the vocabulary.
        block_bytes: How much text to read at once.

    Raises:
        UserError: A split has no file or several, is empty or not UTF-8, or train has no word to learn.
    """
    with distributed.shared_errors():
        texts = split_files.find(channel)
        if wanted_tokenizer == "auto":
            chosen = tokenizer.choose([split_files.sample(texts["train"])])
        else:
            chosen = tokenizer.CHOICES[wanted_tokenizer]
    text = numbered_text.number(texts, chosen, scratch / "corpus", block_bytes)
    total, (unknown, ends) = text.lengths["train"], text.count_special("train")
    fewest = vocabulary.fewest_to_learn(unknown, total)
    most_frequent = MostFrequent(max_vocabulary - SPECIAL, fewest)
    for counts in text.count_words("train"):
        most_frequent.add(counts)
    candidates = distributed.sum_numbers(most_frequent.candidates)
    words = _of_all_ranks(most_frequent)
    if not words:
        raise UserError("train has no word that occurs twice: there is nothing to learn. Use a longer text.")
    known = Vocabulary([UNKNOWN, END_OF_LINE, *words])
    return Corpus(
        text,
        known,
        np.array([total - ends - sum(words.values()), ends, *words.values()]),
        left_out=candidates - len(words),
        unknown_words=count_other_words(text, "test", known.numbers),
    )


def _of_all_ranks(own: MostFrequent) -> dict[str, int]:
    """Return the most frequent words of the text. Each rank has counted some of its words."""
    words = own.words()
    if distributed.world_size() == 1:
        return words
    for rank in range(distributed.world_size()):
        theirs = distributed.broadcast(words, rank)
        if rank != distributed.rank():
            own.add(theirs)
    return own.words()


def count_other_words(text: NumberedText, split: str, known: Container[str]) -> int:
    """Return how many different words of a split are not among the known ones."""
    own = sum(sum(word not in known for word in counts) for counts in text.count_words(split))
    return distributed.sum_numbers(own)
