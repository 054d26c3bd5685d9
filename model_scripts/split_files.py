"""The training channel's three files, which the preparing function wrote: train, valid and test."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

from user_error import UserError

SPLITS = ("train", "valid", "test")
SAMPLE_CHARACTERS = 250_000
BLOCK_BYTES = 2**19  # the arrays made from a block fit into a processor's cache


def find(channel: Path) -> dict[str, Path]:
    """Return the file of each split: `train`, `train.txt` or `wiki.train.tokens`; valid and test likewise.

    Raises:
        UserError: A split has no file or several, or its file is empty.
    """
    if not channel.is_dir():
        raise UserError(f"The training channel {channel} is not a folder.")
    return {split: _find_split(channel, split) for split in SPLITS}


def _find_split(channel: Path, split: str) -> Path:
    names = (split, f"{split}.txt", f"wiki.{split}.tokens")
    found = [channel / name for name in names if (channel / name).is_file()]
    if not found:
        present = ", ".join(sorted(path.name for path in channel.iterdir())) or "nothing"
        raise UserError(
            f"The training channel has no {split} file (looked for {', '.join(names)}; found {present})."
        )
    if len(found) > 1:
        raise UserError(
            f"The training channel has more than one {split} file: {', '.join(path.name for path in found)}."
        )
    if not found[0].stat().st_size:
        raise UserError(f"The {split} file, {found[0].name}, is empty.")
    return found[0]


def blocks(path: Path, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a text file in blocks of about `size` bytes, which end after a line or before a space.

    Every line ends with a newline, the last one too, whatever the file's line ends are. A byte order mark is
    removed.
    """
    with path.open("rb") as file:
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        rest: list[bytes] = []
        while piece := file.read(size):
            cut = max(piece.rfind(b"\n") + 1, piece.rfind(b" "))
            if cut > 0:
                yield _plain_line_ends(b"".join([*rest, piece[:cut]]))
                rest = []
            rest.append(piece[max(cut, 0) :])
        last = _plain_line_ends(b"".join(rest))
        if last:
            yield last if last.endswith(b"\n") else last + b"\n"


def _plain_line_ends(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def sample(path: Path) -> Iterator[str]:
    """Yield the first SAMPLE_CHARACTERS of a text file, line by line, to choose a tokenizer.

    Raises:
        UserError: They are not UTF-8.
    """
    left = SAMPLE_CHARACTERS
    try:
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(left):
                yield line
                left -= len(line)
    except UnicodeDecodeError:
        raise UserError(f"{path.name} is not UTF-8 text.") from None
