"""The benchmark's table: one row for each promise, judged, as Markdown and as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One promise with both loops' figures.

    plain, ours: in `unit`; None where the figure was not measured.
    at_least: the ratio to reach, ours to plain. at_most: what ours may be in `unit`. One of the two is given.
    holds: what else the promise demands, for instance that no corpus is in the artifact.
    judged: false where a slice of the data makes the target meaningless.
    note: what a reader must know about the figures, a sentence or nothing.
    """

    name: str
    unit: str
    plain: float | None
    ours: float | None
    at_least: float | None = None
    at_most: float | None = None
    holds: bool = True
    judged: bool = True
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better ours is: ours / plain where more is better, plain / ours where less is."""
        if self.plain is None or self.ours is None:
            return None
        better, worse = (self.plain, self.ours) if self.at_least is None else (self.ours, self.plain)
        return better / worse if worse else math.inf

    @property
    def target(self) -> str:
        return f"<= {self.at_most:g}" if self.at_least is None else f">= {self.at_least:g}x"

    @property
    def met(self) -> bool | None:
        """None where there is nothing to judge."""
        if not self.judged or self.ours is None:
            return None
        if self.at_most is not None:
            return self.holds and self.ours <= self.at_most
        return None if self.ratio is None else self.holds and self.ratio >= (self.at_least or 0)

    def document(self) -> dict[str, Any]:
        """The row as results.json has it. Figures are rounded to 4 significant digits; no row is judged by
        the rounded ones."""
        return {
            "name": self.name,
            "unit": self.unit,
            "plain": rounded(self.plain),
            "ours": rounded(self.ours),
            "ratio": rounded(self.ratio),
            "target": self.target,
            "met": self.met,
        }


def rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def to_json(rows: Sequence[Row]) -> str:
    return json.dumps([row.document() for row in rows], indent=2) + "\n"


def to_markdown(rows: Sequence[Row]) -> str:
    """The table, columns aligned so that it reads on a terminal too."""
    cells = [
        ("what", "unit", "plain loop", "ours", "ratio", "target", "met"),
        *(
            (
                row.name,
                row.unit,
                shown(row.plain),
                shown(row.ours),
                "-" if row.ratio is None else f"{shown(row.ratio)}x",
                row.target,
                {True: "yes", False: "NO", None: "not judged"}[row.met],
            )
            for row in rows
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    ruler = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], ruler, *lines[1:]]) + "\n"


def notes(rows: Sequence[Row]) -> str:
    """The rows' notes as a list."""
    return "".join(f"- {row.name}: {row.note}\n" for row in rows if row.note)


def shown(value: float | None) -> str:
    """A figure with 3 significant digits, or all of its whole part."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"
