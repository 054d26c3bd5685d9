"""How one corpus is cut into train, valid and test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from uploads.file_names import SPLIT_NAMES, SplitName


def lines_per_split(lines: int) -> dict[SplitName, int]:
    """How many of a corpus's lines go to each split: contiguous blocks of 90, 5 and 5 per cent.

    Valid and test get at least a line each as long as there are three.
    """
    held_out = max(lines * 5 // 100, 1 if lines >= 3 else 0)
    return {"train": lines - 2 * held_out, "valid": held_out, "test": held_out}


def cut(pieces: Iterable[str], lines: Mapping[SplitName, int]) -> Iterator[tuple[SplitName, str]]:
    """Deal a corpus that comes in pieces out to its splits, in order, `lines[split]` lines each.

    What follows the last line asked for goes to test.
    """
    order = list(SPLIT_NAMES)
    split = order.pop(0)
    left = lines[split]
    for piece in pieces:
        rest = piece
        while rest:
            while not left and order:
                split = order.pop(0)
                left = lines[split]
            ends = rest.count("\n")
            if ends < left or not order:
                left -= ends
                yield split, rest
                break
            # str.split with a limit finds the left-th line end without a Python loop over lines.
            after = rest.split("\n", left)[-1]
            head = rest[: len(rest) - len(after)]
            yield split, head
            left = 0
            rest = after
