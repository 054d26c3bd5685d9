"""Time and memory to encode large texts: from the text on disk to the first step of training.

    .venv/bin/python -m benchmarks.encoding [--gb 1 3] [--processors 2]

For each size this writes a text and starts train.py on it with its default hyperparameters, until the first
step of the first pass is logged. Then it stops train.py. It prints a table:

    seconds      from the start of the process until the text is encoded, imports included
    processor    the seconds that its processes used until then; other work on the machine changes them less
    memory       the peak beyond the page cache, of all its processes together (memory.py)

It needs about five times the text's size on disk, in build/.
"""

import argparse
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import memory
from benchmarks.alternating import die_with_parent
from benchmarks.data import MODEL_SCRIPTS, ROOT, SPLITS
from benchmarks.tokenising import GIB, spelling, write_growing_text

GB = 10**9
SHARES = {"train": 0.9, "valid": 0.05, "test": 0.05}
MOST_GIB = 1.0
COPIED = 10**8
HEAPS = 0.6
"""The exponent in Heaps' law."""
LETTERS = "aeioubcdfghklmnprst"
"""The letters of made-up words, with each of which about as many begin (tokenising.spelling)."""


@dataclass(frozen=True)
class Encoded:
    """The measurement of one text.

    Attributes:
        gigabytes: The size of the text, in GB of 1,000,000,000 bytes.
        tokens: Of all splits.
        vocabulary: The words of the model.
        seconds: Until the text is encoded.
        processor_seconds: Of all processes until then.
        first_step: Seconds from then on until the first step is logged.
        gib: Peak memory beyond the page cache.
    """

    gigabytes: float
    tokens: int
    vocabulary: int
    seconds: float
    processor_seconds: float
    first_step: float
    gib: float


def measure(gigabytes: float, scratch: Path, processors: Sequence[int]) -> Encoded:
    """Encode a text of so many GB and begin a pass over it."""
    channel = scratch / "training"
    channel.mkdir()
    for split in SPLITS:
        write_large_text(channel / split, int(gigabytes * GB * SHARES[split]), scratch)
    size = sum(path.stat().st_size for path in channel.iterdir())
    temporary = scratch / "temporary"
    temporary.mkdir()
    environment = {
        **os.environ,
        "SM_CHANNEL_TRAINING": str(channel),
        "SM_MODEL_DIR": str(scratch / "model"),
        "SM_OUTPUT_DATA_DIR": str(scratch / "output"),
        "TMPDIR": str(temporary),
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, MODEL_SCRIPTS / "train.py", "--log_interval", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: (die_with_parent(), os.sched_setaffinity(0, processors)),
    )
    found: dict[str, int] = {}
    encoded = first_step = processor = 0.0
    with memory.watched(psutil.Process(process.pid)) as peak:
        assert process.stdout is not None
        for line in process.stdout:
            found |= {
                name: int(value) for name, value in re.findall(r"(\w+_tokens|vocabulary_size)=(\d+)", line)
            }
            if "vocabulary_size=" in line:
                encoded = time.monotonic() - started
                processor = sum(psutil.Process(process.pid).cpu_times()[:4])
            if " step=" in line:
                first_step = time.monotonic() - started - encoded
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    process.wait()
    if not first_step:
        raise RuntimeError(f"train.py ended with exit code {process.returncode} before its first step.")
    return Encoded(
        gigabytes=size / GB,
        tokens=sum(value for name, value in found.items() if name.endswith("_tokens")),
        vocabulary=found["vocabulary_size"],
        seconds=encoded,
        processor_seconds=processor,
        first_step=first_step,
        gib=peak.bytes / GIB,
    )


def write_large_text(path: Path, size: int, scratch: Path) -> None:
    """Write about `size` bytes of text with ever new words, faster than write_growing_text.

    The text is COPIED bytes of write_growing_text, over and over. In each copy some made-up words are
    replaced by new ones, about as many as Heaps' law says.
    """
    original = scratch / "original"
    if not original.exists():
        write_growing_text(original, min(size, COPIED))
    text = original.read_bytes()
    with path.open("wb") as file:
        for copy in itertools.count():
            changed = text
            for letter in LETTERS[: round(len(LETTERS) * HEAPS * (copy + 1) ** (HEAPS - 1))] if copy else "":
                changed = changed.replace(
                    f" q{letter}".encode(), f" q{spelling(copy).upper()}{letter}".encode()
                )
            left = size - file.tell()
            file.write(changed[:left])
            if left <= len(changed):
                break
        file.write(b"\n")


def to_markdown(rows: Sequence[Encoded]) -> str:
    """Return the measurements as a table."""
    lines = [
        "| text | tokens | vocabulary | s to encode | s per GB | processor s per GB | tokens/s "
        "| s to the first step | GiB of memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {row.gigabytes:.1f} GB | {row.tokens:,} | {row.vocabulary:,} | {row.seconds:.0f} "
            f"| {row.seconds / row.gigabytes:.0f} | {row.processor_seconds / row.gigabytes:.0f} "
            f"| {row.tokens / row.seconds:,.0f} | {row.first_step:.1f} "
            f"| {row.gib:.2f} |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and print. Return 1 if a text took more than MOST_GIB of memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gb", type=float, nargs="+", default=[1.0, 3.0], help="sizes of the texts in GB")
    parser.add_argument("--processors", type=int, help="how many processors to use (default: all)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processors = sorted(os.sched_getaffinity(0))[: options.processors]
    (ROOT / "build").mkdir(exist_ok=True)
    rows = []
    for gigabytes in options.gb:
        with tempfile.TemporaryDirectory(prefix="encoding-", dir=ROOT / "build") as name:
            rows.append(measure(gigabytes, Path(name), processors))
        print(f"{to_markdown(rows[-1:])}\n", flush=True)
    print(to_markdown(rows))
    largest = max(row.gib for row in rows)
    met = "yes" if largest <= MOST_GIB else "NO"
    print(f"\nAt most {MOST_GIB:g} GiB of memory beyond the page cache: {met}")
    return int(largest > MOST_GIB)


if __name__ == "__main__":
    sys.exit(main())
