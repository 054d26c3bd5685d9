"""A corpus as numbers: three files of text in, three arrays of token ids and a vocabulary out.

    we do, do we? we do.        a text is read in blocks
    2  3   4  5   2  6          1. the chunks between its white space are numbered (word_table.py)
    3 -> do ￭,   5 -> we ￭?     2. the tokenizer cuts each chunk into words, the first time it is met
    we 3, do 3, ￭, 1, ...       3. words are counted, and numbered by frequency (vocabulary.py)
    3  2 4 2  3 6  3  2 5       4. each chunk's number is exchanged for those of its words

So the tokenizer, which is slow, sees each chunk once, and Python never loops over a text. A token takes 4
bytes of memory; otherwise only the distinct chunks and words are kept.
"""

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

import split_files
import tokenizer
import vocabulary
from tokenizer import Tokenizer
from user_error import UserError
from vocabulary import END_OF_LINE, END_OF_LINE_ID, UNKNOWN, UNKNOWN_ID, TokenIds, Vocabulary
from word_table import Numbers, Words, WordTable, find_words

T = TypeVar("T")
U = TypeVar("U")
Counts = npt.NDArray[np.int64]

CHUNKS_OF_A_PART = 2**23  # 32 MiB, which the C library gives back to the kernel when they are freed
CHUNKS_AT_ONCE = 2**16


@dataclass(frozen=True)
class Corpus:
    """The three splits as word numbers, an <eos> after each line, and the vocabulary of the first.

    tokenizer: the name of the one that cut the text.
    """

    tokenizer: str
    vocabulary: Vocabulary
    splits: Mapping[str, TokenIds]


def read(channel: Path, wanted_tokenizer: str, block_bytes: int = split_files.BLOCK_BYTES) -> Corpus:
    """The corpus in a folder. wanted_tokenizer: a name, or auto to choose by looking at train.

    Raises UserError if a split is missing, there twice, empty or not UTF-8, or if there is nothing to learn.
    """
    files = split_files.find(channel)
    chosen = (
        tokenizer.choose(split_files.sample(files["train"]))
        if wanted_tokenizer == "auto"
        else tokenizer.BY_NAME[wanted_tokenizer]
    )
    _keep_freed_memory()
    chunks = Chunks(chosen)
    texts = {split: _read_split(split, path, chunks, block_bytes) for split, path in files.items()}
    counts = {split: _count(parts, len(chunks)) for split, parts in texts.items()}
    known, ids = vocabulary.learn(chunks.words, chunks.count_words(counts["train"]))
    splits = {split: chunks.exchange(parts, counts[split], ids) for split, parts in texts.items()}
    return Corpus(chosen.name, known, splits)


@dataclass(frozen=True)
class Wording:
    """A text before any vocabulary: its distinct words, and the text as their places among them.

    words: <unk> and <eos> first, whether or not the text holds them.
    """

    words: list[str]
    places: TokenIds

    def in_numbers_of(self, known: Vocabulary) -> TokenIds:
        """The text as a vocabulary numbers its words."""
        return np.array(known.encode(self.words), dtype=np.int32).take(self.places)


def read_split(channel: Path, split: str, tokenizer_name: str) -> Wording:
    """One split as `read` cuts it into words, which may then be numbered by any vocabulary. Raises as
    `read` does."""
    chunks = Chunks(tokenizer.BY_NAME[tokenizer_name])
    parts = _read_split(split, split_files.find(channel)[split], chunks, split_files.BLOCK_BYTES)
    counts = _count(parts, len(chunks))
    unchanged = np.arange(len(chunks.words), dtype=np.int32)
    return Wording(list(chunks.words), chunks.exchange(parts, counts, unchanged))


class Chunks:
    """The distinct chunks of a text, numbered from 2 as they come, and the words of each. 1 ends a line."""

    def __init__(self, chosen: Tokenizer) -> None:
        # Words and their numbers. One that is asked for and not there gets the next.
        self.words = defaultdict(count(2).__next__, {UNKNOWN: UNKNOWN_ID, END_OF_LINE: END_OF_LINE_ID})
        self._tokenizer = chosen
        self._table = WordTable()
        # The words of chunk n are _words[_starts[n] : _starts[n + 1]].
        self._words = array("i", [END_OF_LINE_ID])
        self._starts = array("i", [0, 0, 1])

    def __len__(self) -> int:
        """One more than the highest number given so far."""
        return len(self._table)

    def number(self, block: Words) -> Numbers:
        """The numbers of a block's chunks and line ends, in their order.

        Raises UnicodeDecodeError if they are not UTF-8.
        """
        numbers = self._table.number(block)
        words, lengths = self._tokenizer.split_chunks(self._table.words(len(self._starts) - 1))
        self._words.extend(map(self.words.__getitem__, words))
        self._starts.extend(accumulate(lengths, initial=self._starts.pop()))
        return numbers

    def count_words(self, counts: Counts) -> Counts:
        """How often each word stands in a text in which each chunk stands counts[its number] times."""
        weights = np.repeat(counts, np.diff(self._starts))
        # Weights are added up as floats, which are exact to 2**53.
        return np.bincount(self._words, weights=weights, minlength=len(self.words)).astype(np.int64)

    def exchange(self, parts: list[Numbers], counts: Counts, ids: TokenIds) -> TokenIds:
        """A text as ids[n] for each word n of its chunks, in one run.

        parts: the text as chunks; they are taken out of the list one by one, so that the text is not in
        memory twice. counts: of the text's chunks.
        """
        starts = np.array(self._starts)
        lengths = np.diff(starts)
        words = ids.take(self._words)
        first_words = words.take(starts[:-1])
        one_each = lengths.max() == 1

        text = np.empty(int(counts @ lengths), dtype=np.int32)
        end = 0
        for chunks in _slices(_taken_out(parts), CHUNKS_AT_ONCE):
            tokens = (
                first_words.take(chunks)
                if one_each
                else _runs(words, starts.take(chunks), lengths.take(chunks))
            )
            text[end : end + len(tokens)] = tokens
            end += len(tokens)
        return text


def _runs(values: Numbers, starts: Numbers, lengths: Numbers) -> Numbers:
    """Runs of values one after another: from each start, so many."""
    places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    places += np.arange(len(places))
    return values.take(places)


def _read_split(split: str, path: Path, chunks: Chunks, block_bytes: int) -> list[Numbers]:
    """One file as numbers of chunks, in parts of CHUNKS_OF_A_PART."""
    parts: list[Numbers] = []
    part, filled = np.empty(0, dtype=np.int32), 0
    try:
        for found in _ahead(find_words, split_files.blocks(path, block_bytes)):
            numbers = chunks.number(found)
            if filled + len(numbers) > len(part):
                parts.append(part[:filled])
                part, filled = np.empty(max(CHUNKS_OF_A_PART, len(numbers)), dtype=np.int32), 0
            part[filled : filled + len(numbers)] = numbers
            filled += len(numbers)
    except UnicodeDecodeError:
        raise UserError(f"{path.name} is not UTF-8 text.") from None
    if not filled:
        raise UserError(f"The {split} file, {path.name}, holds no text.")
    return [*parts, part[:filled]]


def _ahead(function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """What function gives for each item, while a thread is busy with the next ones.

    numpy lets other threads run while it computes, so this uses two processors.
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
    """How often each of `chunks` numbers stands in the parts."""
    counts = np.zeros(chunks, dtype=np.int64)
    for numbers in _slices(parts, max(chunks, CHUNKS_AT_ONCE)):
        counts += np.bincount(numbers, minlength=chunks)
    return counts


def _slices(parts: Iterable[Numbers], length: int) -> Iterator[Numbers]:
    """The parts in pieces of up to `length`."""
    return (part[start : start + length] for part in parts for start in range(0, len(part), length))


def _taken_out(parts: list[Numbers]) -> Iterator[Numbers]:
    """The parts, each taken out of the list as it comes."""
    parts.reverse()
    while parts:
        yield parts.pop()


def _keep_freed_memory() -> None:
    """Let the C library hand out freed memory again rather than give it back to the kernel.

    glibc gets each block above a threshold from the kernel, whose zeroed pages cost more than all that is
    done with them here. Freeing one such block raises the threshold to its size (mallopt(3),
    M_MMAP_THRESHOLD); 32 MiB is the most. The block itself is never touched and so takes no memory.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)
