"""What is in a trained model's folder: its size, and whether the corpus is in it."""

import tarfile
import tempfile
from pathlib import Path

from benchmarks.data import long_lines

LINES_LOOKED_FOR = 200


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def megabytes(folder: Path) -> float:
    """Of the files as they lie on the serving disk, in MB of 1,000,000 bytes."""
    return sum(path.stat().st_size for path in files(folder)) / 1e6


def packed_megabytes(folder: Path) -> float:
    """Of the folder as model.tar.gz."""
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(folder, arcname=".")
        return packed.tell() / 1e6


def holds_corpus(folder: Path, corpus: Path) -> bool:
    """Whether a sentence of the corpus's train or test text is in any file of the folder."""
    wanted = [
        line.strip().encode()
        for split in ("train", "test")
        for line in long_lines(corpus / split, LINES_LOOKED_FOR)
    ]
    return any(
        line in content for content in (path.read_bytes() for path in files(folder)) for line in wanted
    )
