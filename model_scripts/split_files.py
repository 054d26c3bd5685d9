"""The training channel: where the text of train, valid and test is.

A split is a list of byte ranges of files. A dataset that the pipeline prepared has a manifest.json, which
lists the ranges; the splits of one dataset may share files. Without it, each split is a file of its own.

    00000, 00001, manifest.json   {"splits": {"train": {"ranges": [["00000", 0, 900], ["00001", 0, 95]]}, ...
    train, valid, test            or train.txt, ..., or wiki.train.tokens, ...
"""

import hashlib
import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from user_error import UserError

SPLITS = ("train", "valid", "test")
MANIFEST = "manifest.json"
SAMPLE_CHARACTERS = 250_000
BLOCK_BYTES = 2**19  # the arrays made from a block fit into a processor's cache
MOST_LINE_BYTES = 2**20
"""How far a cut is moved to the next line."""


class Range(NamedTuple):
    """The bytes of a file from `begin` up to `end`."""

    path: Path
    begin: int
    end: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.end - self.begin


Text = Sequence[Range]


def find(channel: Path) -> dict[str, Text]:
    """Return the text of each split.

    Raises:
        UserError: A split has no file or several, or is empty; or the manifest names bytes that do not exist.
    """
    if not channel.is_dir():
        raise UserError(f"The training channel {channel} is not a folder.")
    manifest = _read_manifest(channel)
    if manifest is None:
        return {split: _find_file(channel, split) for split in SPLITS}
    return {split: _find_ranges(channel, split, manifest[split]["ranges"]) for split in SPLITS}


def fingerprint(channel: Path) -> str:
    """Return a hash of the splits' text: the manifest's own, or else one of the files."""
    if _read_manifest(channel) is not None:
        found = json.loads((channel / MANIFEST).read_bytes()).get("fingerprint")
        if found:
            return str(found)
    digest = hashlib.blake2b(digest_size=16)
    for split, text in find(channel).items():
        digest.update(f"{split} {sum(part.size for part in text)}".encode())
        for part in text:
            for block in _read(part, BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _read_manifest(channel: Path) -> dict[str, Any] | None:
    """Return the splits of the manifest, or None if the channel has no manifest with ranges."""
    path = channel / MANIFEST
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        raise UserError(f"{MANIFEST} in the training channel is not JSON.") from None
    splits = document.get("splits") if isinstance(document, dict) else None
    if not isinstance(splits, dict) or not any("ranges" in splits.get(split, ()) for split in SPLITS):
        return None
    for split in SPLITS:
        ranges = splits.get(split, {}).get("ranges")
        if not isinstance(ranges, list) or not all(map(_is_range, ranges)):
            raise UserError(
                f"{MANIFEST} in the training channel has no valid ranges for {split}: it needs a list of "
                "[file, first byte, byte after the last]."
            )
    return splits


def _is_range(found: object) -> bool:
    match found:
        case [str(name), int(begin), int(end)]:
            return 0 <= begin <= end and name == Path(name).name
    return False


def _find_ranges(channel: Path, split: str, ranges: Sequence[tuple[str, int, int]]) -> Text:
    text = [Range(channel / name, begin, end) for name, begin, end in ranges if begin < end]
    if not text:
        raise UserError(f"The {split} split is empty: {MANIFEST} lists no text for it.")
    for part in text:
        if not part.path.is_file():
            raise UserError(
                f"{MANIFEST} lists {part.path.name}, and the training channel has no file of that name."
            )
        size = part.path.stat().st_size
        if size < part.end:
            raise UserError(
                f"{MANIFEST} lists {part.end:,} bytes of {part.path.name}, and the file has {size:,}. "
                "Prepare the dataset again."
            )
    return text


def _find_file(channel: Path, split: str) -> Text:
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
    size = found[0].stat().st_size
    if not size:
        raise UserError(f"The {split} file, {found[0].name}, is empty.")
    return [Range(found[0], 0, size)]


def divide(text: Text, parts: int) -> list[Text]:
    """Cut a text after lines into parts of about equal size. Some may be empty."""
    total = sum(piece.size for piece in text)
    cuts = [total * part // parts for part in range(1, parts)]
    divided: list[Text] = []
    current: list[Range] = []
    before = 0  # bytes of the text before this piece
    for piece in text:
        begin = piece.begin
        while cuts and cuts[0] < before + piece.size:
            cut = max(begin, _next_line(piece, piece.begin + cuts.pop(0) - before))
            divided.append([*current, *([Range(piece.path, begin, cut)] if begin < cut else [])])
            current, begin = [], cut
        if begin < piece.end:
            current.append(Range(piece.path, begin, piece.end))
        before += piece.size
    divided.append(current)
    return divided + [[] for _ in range(parts - len(divided))]


def _next_line(piece: Range, position: int) -> int:
    """Return where the first line begins at or after a position; the piece's end if none is near."""
    if position == piece.begin:
        return position
    with piece.path.open("rb") as file:
        file.seek(position - 1)
        found = file.read(min(MOST_LINE_BYTES, piece.end - position + 1)).find(b"\n")
    return piece.end if found < 0 else position + found


def blocks(text: Text, size: int = BLOCK_BYTES) -> Iterator[tuple[Path, bytes]]:
    """Yield a text in blocks of about `size` bytes, each with its file.

    A block ends after a line or before a space. Every line ends with a newline, the last one of each range
    too, whatever the files' line ends are. A byte order mark is removed.
    """
    for part in text:
        for block in _blocks(part, size):
            yield part.path, block


def _blocks(part: Range, size: int) -> Iterator[bytes]:
    rest: list[bytes] = []
    for piece in _read(part, size):
        cut = max(piece.rfind(b"\n") + 1, piece.rfind(b" "))
        if cut > 0:
            yield _plain_line_ends(b"".join([*rest, piece[:cut]]))
            rest = []
        rest.append(piece[max(cut, 0) :])
    last = _plain_line_ends(b"".join(rest))
    if last:
        yield last if last.endswith(b"\n") else last + b"\n"


def _read(part: Range, size: int) -> Iterator[bytes]:
    """Yield the bytes of a range, `size` at a time, without the byte order mark at the file's begin."""
    with part.path.open("rb") as file:
        file.seek(part.begin)
        left = part.size
        if part.begin == 0 and file.read(len(BOM_UTF8)) == BOM_UTF8:
            left -= len(BOM_UTF8)
        else:
            file.seek(part.begin)
        while piece := file.read(min(size, left)):
            left -= len(piece)
            yield piece


def _plain_line_ends(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def sample(text: Text) -> str:
    """Return the first SAMPLE_CHARACTERS of a text.

    Raises:
        UserError: They are not UTF-8.
    """
    found = ""
    for path, block in blocks(text):
        try:
            found += block.decode()
        except UnicodeDecodeError:
            raise UserError(f"{path.name} is not UTF-8 text.") from None
        if len(found) >= SAMPLE_CHARACTERS:
            break
    return found[:SAMPLE_CHARACTERS]
