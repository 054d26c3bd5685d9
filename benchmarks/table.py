"""The benchmark's table, as Markdown and as JSON: one row for each target."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One target with both loops' figures.

    Attributes:
        name: The quantity.
        unit: Its unit.
        plain: The plain loop's figure, or None if it was not measured.
        ours: Our figure, or None if it was not measured.
        at_least: The target for the ratio of ours to plain. Set this, or `at_most`, or neither if there is no
            target.
        at_most: The target for ours, in `unit`.
        holds: Whether the target's other condition is met, for instance that the artifact has no corpus.
        judged: False if the target does not apply to a quick run.
        note: A sentence about the figures, or nothing.
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
        """How many times better ours is: ours / plain if more is better, plain / ours if less is better."""
        if self.plain is None or self.ours is None:
            return None
        better, worse = (self.plain, self.ours) if self.at_least is None else (self.ours, self.plain)
        return better / worse if worse else math.inf

    @property
    def target(self) -> str:
        """The target as text; a hyphen if there is none."""
        if self.at_least is None and self.at_most is None:
            return "-"
        return f"<= {self.at_most:g}" if self.at_least is None else f">= {self.at_least:g}x"

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if it does not apply."""
        if not self.judged or self.ours is None:
            return None
        if self.at_most is not None:
            return self.holds and self.ours <= self.at_most
        if self.at_least is None or self.ratio is None:
            return None
        return self.holds and self.ratio >= self.at_least

    def document(self) -> dict[str, Any]:
        """Return the row of results.json, with figures of 4 significant digits. `met` uses the exact ones."""
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
    """Round to 4 significant digits; None if the value is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def to_json(rows: Sequence[Row]) -> str:
    """Return the content of results.json."""
    return json.dumps([row.document() for row in rows], indent=2) + "\n"


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the table, with aligned columns for terminals."""
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
    """Return the rows' notes as a Markdown list."""
    return "".join(f"- {row.name}: {row.note}\n" for row in rows if row.note)


def shown(value: float | None) -> str:
    """Format a figure with 3 significant digits, or with all digits before the point."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"
