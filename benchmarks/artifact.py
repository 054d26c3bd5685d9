"""The size of a trained model's folder, and whether it contains the corpus."""

import tarfile
import tempfile
from pathlib import Path

from benchmarks.data import long_lines

LINES_LOOKED_FOR = 200


def files(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def megabytes(folder: Path) -> float:
    """Return the size of the folder's files, in MB of 1,000,000 bytes."""
    return sum(path.stat().st_size for path in files(folder)) / 1e6


def packed_megabytes(folder: Path) -> float:
    """Return the size of the folder as model.tar.gz, in MB."""
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(folder, arcname=".")
        return packed.tell() / 1e6


def holds_corpus(folder: Path, corpus: Path) -> bool:
    """Return whether a file of the folder contains a line of the corpus's train or test text."""
    wanted = [
        line.strip().encode()
        for split in ("train", "test")
        for line in long_lines(corpus / split, LINES_LOOKED_FOR)
    ]
    return any(
        line in content for content in (path.read_bytes() for path in files(folder)) for line in wanted
    )
