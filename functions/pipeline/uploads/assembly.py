"""The manifest of a corpus, from the results of all items: the splits, the fingerprint, what is left out.

The split is stable. Where a text goes depends on its content. While a dataset grows, no line of train comes
into valid or test, so no model was ever trained on the text with which a later one is measured.

- A block with enough lines is cut in itself (`blocks`).
- A smaller block goes whole to one split, by its hash. If test has nothing, it gets the block with the
  smallest hash; if valid has nothing, the second smallest. Later, only a new block can take such a place.
- A dataset with files named as train, valid and test keeps this split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from contracts.dataset import (
    ItemResult,
    LeftOut,
    Manifest,
    ManifestFile,
    ManifestSplits,
    Plan,
    SourceObject,
    SplitRanges,
    TextFile,
)
from core.errors import DatasetEmpty, DatasetTooLarge, DatasetTooSmall, SplitAmbiguous, SplitIncomplete
from uploads.blocks import ENOUGH_LINES
from uploads.file_names import SPLIT_NAMES, SplitName, role_of
from uploads.left_out import left_out, nothing_left

# The manifest and its parts are in memory: about 4.5 KB a text, of the function's 1,000 MB.
MOST_TEXTS = 150_000
# The shares of the whole blocks that go to test, and to test and valid.
_TEST, _HELD_OUT = 0.05, 0.10


class _Size(NamedTuple):
    """A contract's Split, in a quarter of its memory: there may be hundreds of thousands."""

    lines: int
    words: int
    bytes: int


_NOTHING = _Size(0, 0, 0)


class _Block(NamedTuple):
    sha256: str
    parts: tuple[_Size, ...]


class _Text(NamedTuple):
    """A text, or the range of it that one item read."""

    item: str
    name: str
    start: int
    blocks: tuple[_Block, ...]
    notes: tuple[str, ...]

    @property
    def words(self) -> int:
        return sum(part.words for block in self.blocks for part in block.parts)

    def places(self) -> Iterator[tuple[_Block, int]]:
        """Yield each block with the byte offset at which it begins."""
        start = self.start
        for block in self.blocks:
            yield block, start
            start += sum(part.bytes for part in block.parts)


def _text(item: str, file: TextFile) -> _Text:
    blocks = (
        _Block(block.sha256, tuple(_Size(part.lines, part.words, part.bytes) for part in block.parts))
        for block in file.blocks
    )
    return _Text(item, file.name, file.start, tuple(blocks), tuple(file.notes))


def assemble(plan: Plan, results: Iterable[ItemResult], run: str) -> Manifest:
    """Decide the split of every block, and return the manifest without its preview.

    Args:
        plan: the plan.
        results: the results of the plan's items, in their order.
        run: the run's name.

    Raises:
        SplitIncomplete: One or two files of train, valid and test are missing. A run that an upload started
            may end as waiting.
        SplitAmbiguous: Two files are the same split, or there are several sets of train, valid and test.
        DatasetTooSmall: The text is too short to be split.
        DatasetTooLarge: There are too many texts.
        InvalidDataset: All files are left out. The subclass is the reason of the first.
    """
    texts: list[_Text] = []
    entries = {entry.name: entry for entry in plan.left_out}
    sources: dict[str, SourceObject] = {}
    for item, result in zip(plan.items, results, strict=True):
        texts.extend(_text(item.object_name, file) for file in result.files)
        for entry in result.left_out:
            entries.setdefault(entry.name, entry)
        sources.update((each.uri, each) for each in result.source)
        if len(texts) > MOST_TEXTS:
            raise DatasetTooLarge(
                f"Dataset {plan.dataset} has more than {MOST_TEXTS:,} texts. Join them into fewer files."
            )
    # One range may show that the whole file is no text.
    ranged = {item.objects[0].name for item in plan.items if item.end}
    for name in sorted(ranged - {text.name for text in texts if text.words} - set(entries)):
        entries[name] = left_out(name, DatasetEmpty("It contains no words. Upload it with its text."))
    texts = [text for text in texts if text.name not in ranged or text.name not in entries]
    given = _given_split(texts, entries)
    if given:
        names = ", ".join(given[split] for split in SPLIT_NAMES)
        reason = f"The dataset has a split of its own: {names}."
        others = {text.name for text in texts} - set(given.values())
        entries.update((name, LeftOut(name=name, reason=reason)) for name in others)
        texts = [text for text in texts if text.name not in others]
    if not texts:
        raise nothing_left(plan.dataset, list(entries.values()))
    splits = _dealt(texts, given)
    _check_sizes(plan.dataset, splits, texts)
    return Manifest(
        dataset=plan.dataset,
        fingerprint=_fingerprint(splits),
        run=run,
        prepared_at=datetime.now(UTC),
        splits=ManifestSplits(**{name: split.contract() for name, split in splits.items()}),
        files=_files(texts),
        left_out=sorted(entries.values(), key=lambda entry: entry.name),
        source=list(sources.values()),
    )


# --- a split that is given -----------------------------------------------------------------------


def _given_split(texts: Sequence[_Text], entries: Mapping[str, LeftOut]) -> Mapping[SplitName, str] | None:
    """Return the name of each split's file, or None if the dataset has no split of its own."""
    families: dict[tuple[str, str, str], dict[SplitName, list[str]]] = {}
    for name in dict.fromkeys(text.name for text in texts):
        if role := role_of(name):
            families.setdefault(role.family, {}).setdefault(role.split, []).append(name)
    complete = [family for family in families.values() if len(family) == len(SPLIT_NAMES)]
    if len(complete) > 1:
        both = " and ".join(family["train"][0] for family in complete[:2])
        raise SplitAmbiguous(
            f"There is more than one set of train, valid and test: those of {both}. Delete all but one, or "
            "upload each as a dataset of its own."
        )
    if complete:
        for split, names in complete[0].items():
            if len(names) > 1:
                raise SplitAmbiguous(
                    f"There are two files for {split}: {names[0]} and {names[1]}. Delete one."
                )
        return {split: names[0] for split, names in complete[0].items()}
    for key, family in families.items():
        if len(family) == len(SPLIT_NAMES) - 1:
            raise _incomplete(key, family, entries)
    return None


def _incomplete(
    key: tuple[str, str, str], family: Mapping[SplitName, list[str]], entries: Mapping[str, LeftOut]
) -> SplitIncomplete:
    missing = next(split for split in SPLIT_NAMES if split not in family)
    found = " and ".join(family[split][0] for split in SPLIT_NAMES if split in family)
    for entry in entries.values():
        role = role_of(entry.name)
        if role and role.family == key and role.split == missing:
            return SplitIncomplete(
                f"{found} came without {missing}: {entry.name} was left out. {entry.reason}"
            )
    return SplitIncomplete(
        f"{found} came without {missing}. Upload the file for {missing}, or, to have all texts split 90/5/5, "
        "give them names without train, valid or test."
    )


# --- dealing the blocks --------------------------------------------------------------------------


@dataclass
class _Dealt:
    """A split while blocks are dealt to it."""

    size: _Size = _NOTHING
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, item: str, start: int, part: _Size, name: str) -> None:
        """Append a part of a block. Its name goes into the fingerprint."""
        if not part.bytes:
            return
        end = start + part.bytes
        self.size = _Size(*map(sum, zip(self.size, part, strict=True)))
        if self.ranges and self.ranges[-1][0] == item and self.ranges[-1][2] == start:
            self.ranges[-1] = (item, self.ranges[-1][1], end)
        else:
            self.ranges.append((item, start, end))
        self.hash.update(f"{name}\n".encode())

    def contract(self) -> SplitRanges:
        """Return the split as the manifest has it."""
        return SplitRanges(**self.size._asdict(), ranges=self.ranges)


def _dealt(texts: Sequence[_Text], given: Mapping[SplitName, str] | None) -> dict[SplitName, _Dealt]:
    splits: dict[SplitName, _Dealt] = {name: _Dealt() for name in SPLIT_NAMES}
    of_file = {name: split for split, name in given.items()} if given else {}
    of_block = {} if given else _split_of_whole_blocks(texts)
    for text in texts:
        for block, start in text.places():
            whole = of_file.get(text.name) or of_block.get(block.sha256, "train")
            names = SPLIT_NAMES if not given and len(block.parts) > 1 else (whole,) * len(block.parts)
            for number, (name, part) in enumerate(zip(names, block.parts, strict=True)):
                splits[name].add(text.item, start, part, f"{block.sha256} {number}")
                start += part.bytes
    return splits


def _split_of_whole_blocks(texts: Sequence[_Text]) -> dict[str, SplitName]:
    """Return the split of every block that goes whole to one, by its hash."""
    blocks = [block for text in texts for block in text.blocks]
    whole = sorted({block.sha256 for block in blocks if len(block.parts) == 1 and block.parts[0].words})
    chosen: dict[str, SplitName] = {each: _by_hash(each) for each in whole}
    if any(len(block.parts) > 1 for block in blocks):
        return chosen  # test and valid have their parts of the blocks that are cut
    places: tuple[SplitName, SplitName] = ("test", "valid")
    for smallest, split in zip(whole, places, strict=False):
        if split not in chosen.values():
            chosen[smallest] = split
    return chosen


def _by_hash(sha256: str) -> SplitName:
    share = int(sha256, 16) / 2**256
    return "test" if share < _TEST else "valid" if share < _HELD_OUT else "train"


def _check_sizes(dataset: str, splits: Mapping[SplitName, _Dealt], texts: Sequence[_Text]) -> None:
    if all(split.size.words for split in splits.values()):
        return
    count = len({text.name for text in texts})
    different = len({block.sha256 for text in texts for block in text.blocks})
    words = sum(split.size.words for split in splits.values())
    raise DatasetTooSmall(
        f"Dataset {dataset} is too small for train, valid and test: {words:,} {_plural('word', words)} in "
        f"{count:,} {_plural('text', count)}. Upload a text of at least {ENOUGH_LINES} lines, or "
        f"{'at least three different texts' if different < len(SPLIT_NAMES) else 'one more text'}."
    )


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _fingerprint(splits: Mapping[SplitName, _Dealt]) -> str:
    parts = "".join(f"{name} {splits[name].hash.hexdigest()}\n" for name in SPLIT_NAMES)
    return hashlib.sha256(parts.encode()).hexdigest()


def _files(texts: Sequence[_Text]) -> list[ManifestFile]:
    """Return the corpus's texts, each with the sizes and notes of all its ranges."""
    sizes: dict[str, _Size] = {}
    notes: dict[str, list[str]] = {}
    for text in texts:
        parts = (part for block in text.blocks for part in block.parts)
        sizes[text.name] = _Size(*map(sum, zip(sizes.get(text.name, _NOTHING), *parts, strict=True)))
        known = notes.setdefault(text.name, [])
        known.extend(note for note in text.notes if note not in known)
    return [ManifestFile(name=name, **size._asdict(), notes=notes[name]) for name, size in sizes.items()]
