"""Read a corpus: three files of text become three arrays of token ids and a vocabulary.

    we do, do we? we do.        a text, read in blocks
    2  3   4  5   2  6          1. number the chunks between white space (word_table.py)
    3 -> do ￭,   5 -> we ￭?     2. split each distinct chunk into words (tokenizer.py)
    we 3, do 3, ￭, 1, ...       3. count the words and number them by frequency (vocabulary.py)
    3  2 4 2  3 6  3  2 5       4. replace each chunk's number by the numbers of its words

The slow tokenizer sees each distinct chunk once, and no Python loop runs over the text. A token takes 4 bytes
of memory; besides the tokens, only the distinct chunks and words are kept.
"""

import contextlib
import unicodedata
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

import hyperparameters
import split_files
import tokenizer
import vocabulary
from split_files import Text
from tokenizer import Tokenizer
from user_error import UserError
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN, UNKNOWN_ID, TokenIds, Vocabulary
from word_table import Numbers, Words, WordTable, find_words

T = TypeVar("T")
U = TypeVar("U")
Counts = npt.NDArray[np.int64]

CHUNKS_OF_A_PART = 2**23  # 32 MiB: freed arrays of this size go back to the kernel at once
CHUNKS_AT_ONCE = 2**16


@dataclass(frozen=True)
class Corpus:
    """A corpus as numbers.

    Attributes:
        tokenizer: The name of the tokenizer that split the text.
        vocabulary: The words of train.
        splits: train, valid and test as word numbers, with an <eos> after each line.
        unknown_words: How many different words of test are not in the vocabulary.
    """

    tokenizer: str
    vocabulary: Vocabulary
    splits: Mapping[str, TokenIds]
    unknown_words: int


def read(
    channel: Path,
    wanted_tokenizer: str,
    max_vocabulary: int = hyperparameters.MAX_VOCABULARY,
    block_bytes: int = split_files.BLOCK_BYTES,
) -> Corpus:
    """Read the corpus in a folder.

    Args:
        channel: The folder.
        wanted_tokenizer: A name in tokenizer.CHOICES, or `auto` to choose the tokenizer that fits train.
        max_vocabulary: The most words of the vocabulary.
        block_bytes: How much text to read at once.

    Raises:
        UserError: A split has no file or several, is empty or not UTF-8, or train has no word to learn.
    """
    files = split_files.find(channel)
    if wanted_tokenizer == "auto":
        chosen = tokenizer.choose([split_files.sample(files["train"])])
    else:
        chosen = tokenizer.CHOICES[wanted_tokenizer]
    _keep_freed_memory()
    chunks = Chunks(chosen)
    texts = {split: _read_split(split, text, chunks, block_bytes) for split, text in files.items()}
    counts = {split: _count(parts, len(chunks)) for split, parts in texts.items()}
    known, ids = vocabulary.learn(chunks.words, chunks.count_words(counts["train"]), max_vocabulary)
    splits = {split: chunks.replace(parts, counts[split], ids) for split, parts in texts.items()}
    of_test = chunks.count_words(counts["test"]) > 0
    unknown_words = int(np.count_nonzero(of_test[END_OF_LINE_ID:] & (ids[END_OF_LINE_ID:] == UNKNOWN_ID)))
    return Corpus(chosen.name, known, splits, unknown_words)


@dataclass(frozen=True)
class Wording:
    """A text without a vocabulary.

    Attributes:
        words: Its distinct words, after <unk> and <eos>, which the text need not contain.
        indices: The text as indices of `words`.
        characters: How often each character occurs in the normal form NFC. A chunk counts with one space.
    """

    words: list[str]
    indices: TokenIds
    characters: Mapping[str, int]

    def in_numbers_of(self, known: Vocabulary) -> TokenIds:
        """Return the text in a vocabulary's numbers."""
        return np.array(known.encode(self.words), dtype=np.int32).take(self.indices)


def read_split(channel: Path, split: str, tokenizer_name: str) -> Wording:
    """Return one split, split into words as `read` does it, for any vocabulary. Raises as `read` does."""
    chunks = Chunks(tokenizer.BY_NAME[tokenizer_name])
    parts = _read_split(split, split_files.find(channel)[split], chunks, split_files.BLOCK_BYTES)
    counts = _count(parts, len(chunks))
    unchanged = np.arange(len(chunks.words), dtype=np.int32)
    characters = chunks.count_characters(counts)
    return Wording(list(chunks.words), chunks.replace(parts, counts, unchanged), characters)


class Chunks:
    """The distinct chunks of a text and the words of each. Chunks are numbered from 2; 1 is a line end."""

    def __init__(self, chosen: Tokenizer) -> None:
        # The words' numbers. Looking up a new word gives it the next number.
        self.words = defaultdict(count(2).__next__, {UNKNOWN: UNKNOWN_ID, END_OF_LINE: END_OF_LINE_ID})
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
        words, lengths = self._tokenizer.split_chunks(self._table.words(len(self._starts) - 1))
        self._words.extend(map(self.words.__getitem__, words))
        self._starts.extend(accumulate(lengths, initial=self._starts.pop()))
        return numbers

    def count_words(self, counts: Counts) -> Counts:
        """Return how often each word occurs in a text in which chunk n occurs counts[n] times."""
        weights = np.repeat(counts, np.diff(self._starts))
        # bincount adds weights as floats, which are exact up to 2**53.
        return np.bincount(self._words, weights=weights, minlength=len(self.words)).astype(np.int64)

    def count_characters(self, counts: Counts) -> Counter[str]:
        """Return how often each character occurs in such a text, with one space after each chunk."""
        found: Counter[str] = Counter({"\n": int(counts[END_OF_LINE_ID])})
        for chunk, times in zip(self._table.words(2), counts[2:].tolist(), strict=True):
            for character in f"{unicodedata.normalize('NFC', chunk)} ":
                found[character] += times
        return found

    def replace(self, parts: list[Numbers], counts: Counts, ids: TokenIds) -> TokenIds:
        """Return a text as the ids of its words, in one array.

        Args:
            parts: The text as chunk numbers. The list is emptied on the way, so that memory need not hold
                both forms of the text.
            counts: How often each chunk occurs in the text.
            ids: The id of each word, by the word's number.
        """
        starts = np.array(self._starts)
        lengths = np.diff(starts)
        words = ids.take(self._words)
        first_words = words.take(starts[:-1])
        one_each = lengths.max() == 1

        text = np.empty(int(counts @ lengths), dtype=np.int32)
        end = 0
        for chunks in _slices(_pop_all(parts), CHUNKS_AT_ONCE):
            tokens = (
                first_words.take(chunks)
                if one_each
                else _runs(words, starts.take(chunks), lengths.take(chunks))
            )
            text[end : end + len(tokens)] = tokens
            end += len(tokens)
        return text


def _runs(values: Numbers, starts: Numbers, lengths: Numbers) -> Numbers:
    """Return values[start : start + length] for each start and length, concatenated."""
    places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    places += np.arange(len(places))
    return values.take(places)


def _read_split(split: str, text: Text, chunks: Chunks, block_bytes: int) -> list[Numbers]:
    """Read one split as chunk numbers, in arrays of up to CHUNKS_OF_A_PART."""
    parts: list[Numbers] = []
    part, filled = np.empty(0, dtype=np.int32), 0
    for path, found in _ahead(_find_words, split_files.blocks(text, block_bytes)):
        with _named_errors(path):
            numbers = chunks.number(found)
        if filled + len(numbers) > len(part):
            parts.append(part[:filled])
            part, filled = np.empty(max(CHUNKS_OF_A_PART, len(numbers)), dtype=np.int32), 0
        part[filled : filled + len(numbers)] = numbers
        filled += len(numbers)
    if not filled:
        raise UserError(f"The {split} split, {text[0].path.name}, contains no text.")
    return [*parts, part[:filled]]


def _find_words(block: tuple[Path, bytes]) -> tuple[Path, Words]:
    path, text = block
    with _named_errors(path):
        return path, find_words(text)


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Raise a UserError that names the file if its text is not UTF-8."""
    try:
        yield
    except UnicodeDecodeError:
        raise UserError(f"{path.name} is not UTF-8 text.") from None


def _ahead(function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yield the function's result for each item, while a thread computes the next ones.

    numpy releases the interpreter lock while it computes, so this uses two processors.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming: deque[Future[U]] = deque()
        for item in items:
            coming.append(thread.submit(function, item))
            if len(coming) > 2:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _count(parts: list[Numbers], chunks: int) -> Counts:
    """Return how often each number below `chunks` occurs in the parts."""
    counts = np.zeros(chunks, dtype=np.int64)
    for numbers in _slices(parts, max(chunks, CHUNKS_AT_ONCE)):
        counts += np.bincount(numbers, minlength=chunks)
    return counts


def _slices(parts: Iterable[Numbers], length: int) -> Iterator[Numbers]:
    """Yield the parts in slices of up to `length`."""
    return (part[start : start + length] for part in parts for start in range(0, len(part), length))


def _pop_all(parts: list[Numbers]) -> Iterator[Numbers]:
    """Yield the parts in order, and remove each from the list."""
    parts.reverse()
    while parts:
        yield parts.pop()


def _keep_freed_memory() -> None:
    """Make the C library reuse freed memory instead of returning it to the kernel.

    glibc requests each block above a threshold from the kernel, which zeroes its pages; that costs more than
    all the work on them here. Freeing such a block raises the threshold to its size, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD). The block allocated here is never touched, so it takes no memory.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)
