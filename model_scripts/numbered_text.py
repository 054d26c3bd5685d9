"""A text as numbers on disk, so that a corpus may be much larger than memory.

    train       ....................................    each split is divided among the ranks,
    ranks       0                 1                     each rank's part among its processes;
    processes   0        1        0        1            a section ends when its table of chunks is full
    sections    0    1   0  1  2  0    1   0  1

1. `number`: each process numbers the chunks of its text (chunks.py) and writes the numbers. When its table is
   full, it writes the table, with how often each word occurs, and begins a new one: a section.
2. `count_words` adds up the sections' counts. Each section's words are sorted by a hash. The words of a range
   of hashes are added at a time, each range by one rank, in memory that does not depend on the text.
3. `encode`: each process replaces the numbers of its chunks by those of their words in a vocabulary. Then
   each rank gets the tokens that it needs (Tokens), mostly those that it wrote.

Nothing is approximate: counts and tokens are the same for any number of ranks and processes.
"""

import errno
import math
import os
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, repeat
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

import distributed
import host_processes
import split_files
from chunks import Chunks
from split_files import Text
from tokenizer import Tokenizer
from user_error import UserError
from vocabulary import END_OF_LINE_ID, UNKNOWN_ID, TokenIds, Vocabulary
from word_table import Numbers, Words, find_words

T = TypeVar("T")
U = TypeVar("U")

BYTES_OF_A_PROCESS = 2**26
"""A smaller text is read by fewer processes."""

MOST_OF_A_TABLE = 2**24
"""A section ends when its table of chunks takes so many characters, about a million English chunks.

Such a table takes about 0.3 GiB of memory in each process. A smaller one would be full more often, and
frequent chunks would be split into words more often.
"""

WORDS_AT_ONCE = 2**19
"""How many words of all sections are added up at a time."""

CHUNKS_AT_ONCE = 2**16
HASHES = 2**32


class Tokens:
    """A split as word numbers, of which this rank has those that it needs, mapped from a file.

    The kernel reads a page when it is used, and may drop it again.

    Attributes:
        own: This rank's tokens.
        begin: The place of the first of them in the split.
        unknown: How many tokens of the split are <unk>.
    """

    def __init__(self, own: TokenIds, begin: int, length: int, unknown: int) -> None:
        self.own, self.begin, self.unknown = own, begin, unknown
        self._length = length

    def __len__(self) -> int:
        """Return the number of tokens of the whole split."""
        return self._length

    def __getitem__(self, place: slice) -> TokenIds:
        """Return tokens by their places in the split. They must be this rank's."""
        begin, end, _ = place.indices(self._length)
        if begin < self.begin or end > self.begin + len(self.own):
            raise IndexError(f"This rank has no tokens {begin} to {end}.")
        return self.own[begin - self.begin : end - self.begin]

    @property
    def unknown_share(self) -> float:
        """The share of the split's tokens that are <unk>."""
        return self.unknown / self._length


@dataclass
class Section:
    """A part of a process's text that was numbered with one table of chunks.

    The folder has, for each distinct word in the order of the hashes: its spelling, its hash, where its
    spelling ends, and how often it occurs in each split; and for each chunk its words.

    Attributes:
        words: The number of distinct words.
        chunks: For each split, the places of its chunks in the split's file.
        tokens: For each split, the number of its tokens.
        special: For each split, how often <unk> and <eos> occur.
    """

    folder: Path
    words: int = 0
    chunks: dict[str, range] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    special: dict[str, tuple[int, int]] = field(default_factory=dict)
    characters: Counter[str] = field(default_factory=Counter)


@dataclass
class Stretch:
    """What one process has numbered: its sections, in the order of the text.

    Attributes:
        folder: Has a file of chunk numbers for each split.
    """

    folder: Path
    sections: list[Section] = field(default_factory=list)

    def tokens(self, split: str) -> int:
        """Return the number of a split's tokens."""
        return sum(section.tokens[split] for section in self.sections)


def number(
    texts: Mapping[str, Text],
    chosen: Tokenizer,
    folder: Path,
    block_bytes: int = split_files.BLOCK_BYTES,
    *,
    count_characters: bool = False,
) -> "NumberedText":
    """Return a text as numbers. Every rank calls this with the same text, and numbers a part of it.

    Args:
        texts: The splits.
        chosen: Cuts the text into words.
        folder: An empty or missing folder for the numbers, this rank's own.
        block_bytes: How much text to read at once.
        count_characters: Whether to count the characters, too.

    Raises:
        UserError: A file is not UTF-8, or a split has no text.
    """
    ranks = distributed.world_size()
    own = {split: distributed.own_share(split_files.divide(text, ranks)) for split, text in texts.items()}
    size = sum(part.size for text in own.values() for part in text)
    processes = min(host_processes.own_processors(), max(1, size // BYTES_OF_A_PROCESS))
    shares = {split: split_files.divide(text, processes) for split, text in own.items()}
    jobs = [
        _Numbering(folder / str(process), {split: share[process] for split, share in shares.items()})
        for process in range(processes)
    ]
    _keep_freed_memory()
    with distributed.shared_errors():
        work = partial(_number, chosen=chosen, block_bytes=block_bytes, count_characters=count_characters)
        stretches = host_processes.run(work, jobs)
    numbered = NumberedText(chosen.name, folder, stretches, texts)
    for split, length in numbered.lengths.items():
        if not length:
            raise UserError(f"The {split} split, {texts[split][0].path.name}, contains no text.")
    return numbered


class NumberedText:
    """Splits whose chunks are numbered on disk. Every rank calls each method, and gets what is said.

    Attributes:
        tokenizer: The name of the tokenizer.
        lengths: The number of tokens of each split.
    """

    def __init__(
        self, tokenizer: str, folder: Path, stretches: Sequence[Stretch], splits: Iterable[str]
    ) -> None:
        self.tokenizer = tokenizer
        self._folder = folder
        self._stretches = stretches
        own = {split: sum(stretch.tokens(split) for stretch in stretches) for split in splits}
        self.lengths = {split: distributed.sum_numbers(length) for split, length in own.items()}

    @property
    def _sections(self) -> Iterator[Section]:
        return (section for stretch in self._stretches for section in stretch.sections)

    def count_special(self, split: str) -> tuple[int, int]:
        """Return how often the words <unk> and <eos> occur in a split."""
        unknown, ends = (
            distributed.sum_numbers(sum(section.special[split][word] for section in self._sections))
            for word in (UNKNOWN_ID, END_OF_LINE_ID)
        )
        return unknown, ends

    def count_words(self, split: str) -> Iterator[dict[str, int]]:
        """Yield how often each word occurs in a split, some words at a time.

        The words of all ranks and all times together are all words of the split, each once. Every rank must
        iterate to the end.
        """
        ranks = distributed.world_size()
        words = distributed.sum_numbers(sum(section.words for section in self._sections))
        rounds = math.ceil(words / (ranks * WORDS_AT_ONCE))
        for first in range(0, rounds * ranks, ranks):
            counts = [self._count(split, first + rank, rounds * ranks) for rank in range(ranks)]
            yield _add(distributed.exchange(counts))

    def _count(self, split: str, part: int, parts: int) -> dict[str, int]:
        """Return how often each word occurs in this rank's text, for one of `parts` ranges of hashes."""
        return _add(_read_counts(section, split, part, parts) for section in self._sections)

    def count_characters(self) -> Counter[str]:
        """Return how often each character occurs (Chunks.count_characters)."""
        own: Counter[str] = sum((section.characters for section in self._sections), Counter())
        return sum(distributed.gather_objects(own), Counter())

    def count_own_words(self, split: str) -> Iterator[tuple[list[str], list[int]]]:
        """Yield the words of each of this rank's sections, and how often each occurs in a split there."""
        for section in self._sections:
            yield _read_words(section), np.load(section.folder / f"{split}.npy").tolist()

    def encode(self, known: Vocabulary, needed: Mapping[str, range]) -> dict[str, Tokens]:
        """Return splits in the numbers of a vocabulary, once: this deletes the numbers of their chunks.

        Args:
            known: The vocabulary.
            needed: For each of the splits, the places of the tokens that this rank needs.
        """
        files = {split: self._folder / f"{split}.tokens" for split in needed}
        lengths = {split: [stretch.tokens(split) for stretch in self._stretches] for split in needed}
        for split, path in files.items():
            with path.open("wb") as file:
                file.truncate(4 * sum(lengths[split]))
        jobs = [
            _Encoding(stretch, {split: (path, sum(lengths[split][:place])) for split, path in files.items()})
            for place, stretch in enumerate(self._stretches)
        ]
        # The processes share the numbers if they exist before.
        unknown = Counter[str]()
        with distributed.shared_errors():
            for found in host_processes.run(partial(_encode, numbers=known.numbers), jobs):
                unknown.update(found)
        return {
            split: Tokens(
                _share(files[split], sum(lengths[split]), places),
                places.start,
                self.lengths[split],
                distributed.sum_numbers(unknown[split]),
            )
            for split, places in needed.items()
        }


@dataclass(frozen=True)
class _Numbering:
    folder: Path
    texts: Mapping[str, Text]


def _number(job: _Numbering, chosen: Tokenizer, block_bytes: int, *, count_characters: bool) -> Stretch:
    """Write the numbers of one process's text."""
    stretch = Stretch(job.folder)
    with _named_full_disk(job.folder), ExitStack() as stack:
        job.folder.mkdir(parents=True)
        files = {split: stack.enter_context((job.folder / split).open("w+b")) for split in job.texts}
        section = _OpenSection(stretch, chosen, files)
        for split, text in job.texts.items():
            for path, words in _ahead(_find_words, split_files.blocks(text, block_bytes)):
                with _named_errors(path):
                    section.add(split, words)
                if section.table.size > MOST_OF_A_TABLE:
                    section.close(count_characters=count_characters)
                    section = _OpenSection(stretch, chosen, files)
        section.close(count_characters=count_characters)
    return stretch


class _OpenSection:
    """A section to which chunks are added."""

    def __init__(self, stretch: Stretch, chosen: Tokenizer, files: Mapping[str, BinaryIO]) -> None:
        self.table = Chunks(chosen)
        self._stretch = stretch
        self._files = files
        self._begins = {split: file.tell() // 4 for split, file in files.items()}

    def add(self, split: str, words: Words) -> None:
        """Add a block. Raises UnicodeDecodeError."""
        self._files[split].write(self.table.number(words).data)

    def close(self, *, count_characters: bool) -> None:
        """Write the table, and how often each word occurs."""
        table = self.table
        section = Section(self._stretch.folder / f"section-{len(self._stretch.sections)}", len(table.words))
        section.folder.mkdir()
        words = [*table.words]
        spellings = [word.encode() for word in words]
        hashes = np.fromiter(map(zlib.crc32, spellings), dtype=np.uint32, count=len(words))
        order = np.argsort(hashes, kind="stable")
        places = np.empty(len(order), dtype=np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        spellings = [spellings[place] for place in order.tolist()]
        (section.folder / "words").write_bytes(b"\n".join(spellings))
        ends = np.cumsum(np.fromiter(map(len, spellings), dtype=np.int64, count=len(words)) + 1)
        starts, words_of_chunks = table.arrays()
        for name, values in (
            ("hashes", hashes[order]),
            ("ends", ends),
            ("starts", starts),
            ("words_of_chunks", places[words_of_chunks]),
        ):
            np.save(section.folder / f"{name}.npy", values)
        for split, file in self._files.items():
            section.chunks[split] = range(self._begins[split], file.tell() // 4)
            file.flush()
            of_chunks = _count_chunks(self._stretch.folder / split, section.chunks[split], len(table))
            counts = table.count_words(of_chunks)
            np.save(section.folder / f"{split}.npy", counts[order])
            section.tokens[split] = int(counts.sum())
            section.special[split] = int(counts[UNKNOWN_ID]), int(counts[END_OF_LINE_ID])
            if count_characters:
                section.characters += table.count_characters(of_chunks)
        self._stretch.sections.append(section)


def _count_chunks(path: Path, places: range, chunks: int) -> npt.NDArray[np.int64]:
    """Return how often each number below `chunks` occurs in a part of a file of numbers."""
    counts = np.zeros(chunks, dtype=np.int64)
    for numbers in _read_numbers(path, places, max(chunks, CHUNKS_AT_ONCE)):
        counts += np.bincount(numbers, minlength=chunks)
    return counts


def _read_numbers(path: Path, places: range, at_once: int) -> Iterator[Numbers]:
    with path.open("rb") as file:
        file.seek(4 * places.start)
        for start in range(places.start, places.stop, at_once):
            yield np.fromfile(file, dtype=np.int32, count=min(at_once, places.stop - start))


def _read_words(section: Section) -> list[str]:
    return (section.folder / "words").read_bytes().decode().split("\n")


def _read_counts(section: Section, split: str, part: int, parts: int) -> dict[str, int]:
    """Return the counts of the words whose hash is in one of `parts` ranges."""
    hashes, ends, counts = (
        np.load(section.folder / f"{name}.npy", mmap_mode="r") for name in ("hashes", "ends", split)
    )
    begin, end = (
        int(np.searchsorted(hashes, np.uint32(HASHES * edge // parts))) if edge < parts else len(hashes)
        for edge in (part, part + 1)
    )
    if begin == end:
        return {}
    with (section.folder / "words").open("rb") as file:
        file.seek(int(ends[begin - 1]) if begin else 0)
        spellings = file.read(int(ends[end - 1]) - file.tell()).decode().removesuffix("\n").split("\n")
    own = np.array(counts[begin:end])
    return dict(zip(compress(spellings, own), compress(own.tolist(), own), strict=True))


def _add(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the sum of counts, which may change the first."""
    every = iter(counts)
    total = next(every, {})
    for more in every:
        for word, count in more.items():
            total[word] = total.get(word, 0) + count
    return total


@dataclass(frozen=True)
class _Encoding:
    stretch: Stretch
    targets: Mapping[str, tuple[Path, int]]


def _encode(job: _Encoding, numbers: Mapping[str, int]) -> Counter[str]:
    """Write the tokens of one process's text into the rank's files, and delete its chunk numbers.

    Args:
        job: The text; and for each split the file and the place of its first token there.
        numbers: The number of each word.

    Returns:
        For each split, how many tokens are <unk>.
    """
    unknown = Counter[str]()
    with _named_full_disk(job.stretch.folder), ExitStack() as stack:
        targets = {}
        for split, (path, place) in job.targets.items():
            targets[split] = stack.enter_context(path.open("r+b"))
            targets[split].seek(4 * place)
        for section in job.stretch.sections:
            ids = np.fromiter(
                map(numbers.get, _read_words(section), repeat(UNKNOWN_ID)), np.int32, count=section.words
            )
            replace = _Replacement(section, ids)
            for split, target in targets.items():
                for chunks in _read_numbers(
                    job.stretch.folder / split, section.chunks[split], CHUNKS_AT_ONCE
                ):
                    tokens = replace(chunks)
                    unknown[split] += int(np.count_nonzero(tokens == UNKNOWN_ID))
                    target.write(tokens.data)
    for split in job.targets:
        (job.stretch.folder / split).unlink()
    return unknown


class _Replacement:
    """Replaces the numbers of chunks by those of their words."""

    def __init__(self, section: Section, ids: TokenIds) -> None:
        """Read the section's chunks, and look up the vocabulary's number of each word in them.

        ids: The vocabulary's number of each of the section's words.
        """
        self._starts: Numbers = np.load(section.folder / "starts.npy")
        self._lengths = np.diff(self._starts)
        self._words: TokenIds = ids.take(np.load(section.folder / "words_of_chunks.npy"))
        self._first_words = self._words.take(self._starts[:-1])
        self._one_each = self._lengths.max() == 1

    def __call__(self, chunks: Numbers) -> TokenIds:
        if self._one_each:
            tokens: TokenIds = self._first_words.take(chunks)
            return tokens
        return _runs(self._words, self._starts.take(chunks), self._lengths.take(chunks))


def _runs(values: Numbers, starts: Numbers, lengths: Numbers) -> Numbers:
    """Return values[start : start + length] for each start and length, concatenated."""
    places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    places += np.arange(len(places))
    return values.take(places)


def _share(path: Path, length: int, needed: range) -> TokenIds:
    """Map the tokens that this rank needs, which other ranks may have written.

    The file is deleted at once. The map keeps its content until this process ends, however it ends.
    """
    own = _map(path, length)
    if distributed.world_size() == 1:
        return own[needed.start : needed.stop]
    path = path.with_suffix(".needed")
    with distributed.shared_errors(), _named_full_disk(path.parent), path.open("wb") as file:
        if needed:
            # A process that writes to a map is killed if the disk is full. So the space is taken first.
            os.posix_fallocate(file.fileno(), 0, 4 * len(needed))
    target = _map(path, len(needed))
    distributed.exchange_stretches(own, target, needed.start)
    return target


def _map(path: Path, length: int) -> TokenIds:
    # An empty file cannot be mapped.
    mapped: TokenIds = np.empty(0, dtype=np.int32)
    if length:
        mapped = np.memmap(path, np.int32, "r+", shape=(length,))
    path.unlink()
    return mapped


def _find_words(block: tuple[Path, bytes]) -> tuple[Path, Words]:
    path, text = block
    with _named_errors(path):
        return path, find_words(text)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Raise a UserError that names the file if its text is not UTF-8."""
    try:
        yield
    except UnicodeDecodeError:
        raise UserError(f"{path.name} is not UTF-8 text.") from None


@contextmanager
def _named_full_disk(folder: Path) -> Iterator[None]:
    """Raise a UserError if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"The disk of {folder} is full. Word numbers take up to 2.7 times the space of the text: set the "
            "environment variable TMPDIR to a folder on a larger disk."
        ) from None


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


def _keep_freed_memory() -> None:
    """Make the C library reuse freed memory instead of returning it to the kernel.

    glibc requests each block above a threshold from the kernel, which zeroes its pages; that costs more than
    all the work on them here. Freeing such a block raises the threshold to its size, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD). The block allocated here is never touched, so it takes no memory.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)
