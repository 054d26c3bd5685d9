"""Cutting one corpus into train, valid and test."""

from collections.abc import Iterable, Iterator, Mapping

from uploads.file_names import SPLIT_NAMES, SplitName


def lines_per_split(lines: int) -> dict[SplitName, int]:
    """Return how many lines of a corpus go to each split: contiguous blocks of 90, 5 and 5 per cent.

    Valid and test get at least a line each if there are three.
    """
    held_out = max(lines * 5 // 100, 1 if lines >= 3 else 0)
    return {"train": lines - 2 * held_out, "valid": held_out, "test": held_out}


def cut(pieces: Iterable[str], lines: Mapping[SplitName, int]) -> Iterator[tuple[SplitName, str]]:
    """Yield the pieces of a corpus, cut where a split ends, each with its split.

    Train, valid and test get `lines[split]` lines each, in that order; test gets the rest as well.
    """
    splits = iter(SPLIT_NAMES)
    split = next(splits)
    left = lines[split]
    for piece in pieces:
        rest = piece
        while (ends := rest.count("\n")) >= left and split != SPLIT_NAMES[-1]:
            # str.split with a limit finds the end of the split without a Python loop over lines.
            after = rest.split("\n", left)[-1]
            if head := rest[: len(rest) - len(after)]:
                yield split, head
            split = next(splits)
            left, rest = lines[split], after
        left -= ends
        if rest:
            yield split, rest
