"""The training curve as a drawing: perplexity by epoch, on a logarithmic axis, in the coordinates of an SVG.

    PLOT.top     +-----------------------------+  highest perplexity
                 |  o                          |
                 |    ` o---o                  |
                 |            ` o---o---o      |
    PLOT.bottom  +-----------------------------+  lowest
              PLOT.left                     PLOT.right
              first epoch                   last epoch

What is no finite number is not drawn; a line has a gap there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reporting import lenient

# Small enough that its 11-unit letters can still be read where the drawing is as wide as a phone.
WIDTH, HEIGHT = 420, 250


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float


PLOT = Box(left=46, top=10, right=WIDTH - 20, bottom=HEIGHT - 36)

# More marks than this would touch each other.
_MOST_MARKS = 40
# Of an axis with little or nothing to span: the highest perplexity over the lowest.
_LEAST_RATIO = 1.3


@dataclass(frozen=True)
class Mark:
    """A place in the drawing, and the value that stands there."""

    x: float
    y: float
    value: float


@dataclass(frozen=True)
class Tick:
    """`at`: its x on the horizontal axis, its y on the vertical one."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """`pieces`: the points of each stretch without a gap, as SVG's polyline takes them.

    `marks`: the epochs to mark, which is all of them, or of too many those that stand alone.
    """

    pieces: list[str]
    marks: list[Mark]


@dataclass(frozen=True)
class Chart:
    """`best` is the best epoch on the validation line, and `test` the final result, at that epoch.

    `epochs` counts the epochs, `undrawn` those with no perplexity to draw.
    """

    train: Line
    valid: Line
    best: Mark | None
    best_epoch: int | None
    test: Mark | None
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    epochs: int
    undrawn: int


def chart(epochs: Sequence[Mapping[str, Any]], best_epoch: object, test_perplexity: object) -> Chart | None:
    """The drawing of metrics.json's epochs, or None where there is nothing to draw.

    `epochs` have `epoch` (or count from 1), `train_perplexity` and `valid_perplexity`.
    """
    numbers = [_epoch(epoch, position) for position, epoch in enumerate(epochs, start=1)]
    train = [_drawable(epoch.get("train_perplexity")) for epoch in epochs]
    valid = [_drawable(epoch.get("valid_perplexity")) for epoch in epochs]
    test = _drawable(test_perplexity)
    known = [value for value in (*train, *valid) if value is not None]
    if not known:
        return None
    scale = _Scale(numbers, known if test is None else [*known, test])
    place = next((place for place, epoch in enumerate(numbers) if epoch == best_epoch), None)
    # The test was with the best epoch's weights; without one, with those of the last.
    end = numbers[-1] if place is None else numbers[place]
    best_value = None if place is None else valid[place]
    return Chart(
        train=_line(scale, numbers, train),
        valid=_line(scale, numbers, valid),
        best=None if place is None or best_value is None else scale.mark(numbers[place], best_value),
        best_epoch=None if place is None else numbers[place],
        test=None if test is None else scale.mark(end, test),
        x_ticks=[Tick(scale.x(epoch), f"{epoch:,}") for epoch in _whole_steps(scale.first, scale.last)],
        y_ticks=[Tick(scale.y(value), short(value)) for value in _log_steps(scale.low, scale.high)],
        epochs=len(epochs),
        undrawn=sum(one is None and other is None for one, other in zip(train, valid, strict=True)),
    )


class _Scale:
    """From epochs and perplexities to the drawing's coordinates."""

    def __init__(self, epochs: Sequence[int], perplexities: Sequence[float]) -> None:
        self.first, self.last = min(epochs), max(epochs)
        low, high = math.log(min(perplexities)), math.log(max(perplexities))
        # A twentieth of the span stays free above and below.
        room = max(0.05 * (high - low), (math.log(_LEAST_RATIO) - (high - low)) / 2)
        self._low, self._high = low - room, high + room

    @property
    def low(self) -> float:
        return _exp(self._low)

    @property
    def high(self) -> float:
        return _exp(self._high)

    def x(self, epoch: int) -> float:
        if self.first == self.last:
            return (PLOT.left + PLOT.right) / 2
        share = (epoch - self.first) / (self.last - self.first)
        return round(PLOT.left + share * (PLOT.right - PLOT.left), 2)

    def y(self, perplexity: float) -> float:
        share = (math.log(perplexity) - self._low) / (self._high - self._low)
        return round(PLOT.bottom - share * (PLOT.bottom - PLOT.top), 2)

    def mark(self, epoch: int, perplexity: float) -> Mark:
        return Mark(self.x(epoch), self.y(perplexity), perplexity)


def _line(scale: _Scale, epochs: Sequence[int], values: Sequence[float | None]) -> Line:
    stretches: list[list[Mark]] = [[]]
    for epoch, value in zip(epochs, values, strict=True):
        if value is not None:
            stretches[-1].append(scale.mark(epoch, value))
        elif stretches[-1]:
            stretches.append([])
    few = len(values) <= _MOST_MARKS
    return Line(
        pieces=[
            " ".join(f"{mark.x:g},{mark.y:g}" for mark in marks) for marks in stretches if len(marks) > 1
        ],
        marks=[mark for marks in stretches for mark in marks if few or len(marks) == 1],
    )


def _epoch(epoch: Mapping[str, Any], position: int) -> int:
    number = lenient.finite(epoch.get("epoch"))
    return position if number is None else int(number)


def _drawable(value: object) -> float | None:
    found = lenient.finite(value)
    # No perplexity is below 1, that of a model which is sure, and right.
    return found if found is not None and found >= 1 else None


def _exp(power: float) -> float:
    # The room above the largest of floats is not one.
    return math.exp(min(power, 709.0))


def _whole_steps(first: int, last: int, most: int = 6) -> list[int]:
    """The first number, and further ones up to the last at a step of 1, 2 or 5 times a power of ten."""
    step = next(
        step
        for power in range(len(str(last - first)) + 1)
        for step in (10**power, 2 * 10**power, 5 * 10**power)
        if (last - first) // step < most
    )
    # A label too close to the first would be written over it.
    return [
        first,
        *(at for at in range(-(-first // step) * step, last + 1, step) if 2 * (at - first) >= step),
    ]


_LEADING_DIGITS = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    tuple(fifths / 5 for fifths in range(5, 50)),
    tuple(tenths / 10 for tenths in range(10, 100)),
)
"""Of the numbers on a logarithmic axis, from coarse to fine."""


def _log_steps(low: float, high: float, least: int = 3, most: int = 6) -> list[float]:
    """Round numbers between low and high for a logarithmic axis, as coarse as gives at least `least`."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for digits in _LEADING_DIGITS:
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= least:
            break
    every = math.ceil(len(ticks) / most)
    return ticks[::every] if every else ticks


def short(value: float) -> str:
    """A perplexity beside an axis: 1.5, 86, 1,200, 1e+06."""
    if value >= 1e6:
        return f"{value:.0e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
