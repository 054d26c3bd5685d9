"""The training curve in a terminal's characters: perplexity by epoch, on a logarithmic axis.

Each braille character holds 2 x 4 dots. A terminal without Unicode gets one dot per character.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.text import Text

from lexline.display import formatting

ROWS = 8
"""Height of the drawing in lines, without the axis."""
NARROWEST = 40
"""Columns of the narrowest terminal with a drawing."""
_WIDEST = 76
_TRAIN, _VALID = "blue", "yellow"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bits of a braille character: those of its left column from the top, then those of its right one."""
_HIGHEST = 1e30

Points = Sequence[tuple[float, float]]
"""Pairs of an epoch, which may be a fraction, and the perplexity there."""


def draw(train: Points, valid: Points, epochs: int, width: int, *, plain: bool = False) -> list[Text]:
    """Return the lines of a drawing of both curves; no lines if there are not two points to connect.

    Args:
        train: Perplexities on the training text.
        valid: Perplexities on the validation text, after each epoch.
        epochs: How many epochs the training has. The drawing is as wide as all of them.
        width: Columns of the terminal.
        plain: Use ASCII only.
    """
    train, valid = _finite(train), _finite(valid)
    if width < NARROWEST or len(train) + len(valid) < 2 or epochs < 1:
        return []
    values = [value for _, value in (*train, *valid)]
    low, high = min(values), max(values)
    labels = [formatting.perplexity(high), formatting.perplexity(low)]
    margin = max(map(len, labels)) + 2
    columns = min(width, _WIDEST) - margin - 1
    across, down = (1, 1) if plain else (2, 4)
    canvas = _Canvas(columns * across, ROWS * down, epochs, low, high)
    dots = dict.fromkeys(canvas.line(train), _TRAIN)
    dots |= dict.fromkeys(canvas.line(valid), _VALID)
    lines = []
    for row in range(ROWS):
        label = labels[0] if row == 0 else labels[1] if row == ROWS - 1 else ""
        line = Text(f"{label:>{margin - 1}} {'|' if plain else '│'}", style="dim")
        for column in range(columns):
            line.append_text(_character(dots, column, row, plain=plain))
        lines.append(line)
    return [*lines, *_axis(margin, columns, epochs, has_valid=bool(valid), plain=plain)]


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(epoch, value) for epoch, value in points if 0 < value < _HIGHEST]


class _Canvas:
    """Dots from the left and the top, for epochs from 0 to the last one."""

    def __init__(self, columns: int, rows: int, epochs: int, low: float, high: float) -> None:
        self._columns, self._rows = columns, rows
        self._epochs = epochs
        self._top = math.log(high)
        # Curves that are flat are drawn in the middle.
        self._height = math.log(high) - math.log(low)

    def _place(self, epoch: float, value: float) -> tuple[int, int]:
        share = (self._top - math.log(value)) / self._height if self._height > 1e-9 else 0.5
        return (
            round(min(1.0, max(0.0, epoch / self._epochs)) * (self._columns - 1)),
            round(share * (self._rows - 1)),
        )

    def line(self, points: Points) -> Iterator[tuple[int, int]]:
        """Yield the dots of a line through the points."""
        places = [self._place(*point) for point in points]
        yield from places[:1]
        for (x, y), (next_x, next_y) in pairwise(places):
            steps = max(abs(next_x - x), abs(next_y - y), 1)
            for step in range(1, steps + 1):
                yield round(x + (next_x - x) * step / steps), round(y + (next_y - y) * step / steps)


def _character(dots: dict[tuple[int, int], str], column: int, row: int, *, plain: bool) -> Text:
    if plain:
        style = dots.get((column, row), "")
        return Text({_TRAIN: ".", _VALID: "o"}.get(style, " "), style=style)
    places = {
        (2 * column + x, 4 * row + y): bit for x, half in enumerate(_DOTS) for y, bit in enumerate(half)
    }
    found = places.keys() & dots.keys()
    if not found:
        return Text(" ")
    style = _VALID if any(dots[place] == _VALID for place in found) else _TRAIN
    return Text(chr(0x2800 + sum(places[place] for place in found)), style=style)


def _axis(margin: int, columns: int, epochs: int, *, has_valid: bool, plain: bool) -> Iterator[Text]:
    corner, bar = ("+", "-") if plain else ("└", "─")
    yield Text(f"{'':{margin}}{corner}{bar * (columns - 1)}", style="dim")
    end = f"{epochs} epoch{'s' * (epochs != 1)}"
    legend = [("training text", _TRAIN, "." if plain else "⠒")]
    if has_valid:
        legend.append(("unseen text", _VALID, "o" if plain else "⠒"))
    line = Text(" " * (margin + 1))
    for name, style, sign in legend:
        line.append(f"{sign} ", style=style)
        line.append(f"{name}  ", style="dim")
    room = margin + columns - len(line)
    if len(end) <= room:
        line.append(f"{end:>{room}}", style="dim")
    line.rstrip()
    yield line
