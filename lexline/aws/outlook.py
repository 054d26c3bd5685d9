"""What is known of a run beforehand: how long its dataset's last run took, and what training costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from lexline.aws import prices, reports
from lexline.aws.reports import UNREADABLE
from lexline.aws.runs import beginning_of_name, id_in
from lexline.aws.stack import Stack

_MOST_REPORTS = 10
"""How many reports of a dataset are read to find its last training."""


@dataclass(frozen=True)
class Former:
    """A run that trained a model.

    Attributes:
        id: The run's id.
        ended: When it ended.
        status: Succeeded, Rejected or Failed.
        durations: Seconds by step, as in its report, without the total.
        total: Seconds of the whole run.
        training_cost: In US dollars; None if its report has none.
        words: Words of the training text.
        hyperparameters: The values that it used; empty if its report has none.
    """

    id: str
    ended: datetime
    status: str
    durations: Mapping[str, float]
    total: float
    training_cost: float | None
    words: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outlook:
    """What to expect of a run.

    Attributes:
        former: The dataset's last run that trained a model, if there is one.
        training_per_hour: What the training's instances cost, in US dollars at list prices; None if unknown.
    """

    former: Former | None = None
    training_per_hour: float | None = None


def of(stack: Stack, plan: Mapping[str, Any]) -> Outlook:
    """Return the outlook of a run.

    Args:
        stack: The stack of the run.
        plan: The run with everything decided, as Plan returns it.
    """
    training, dataset = plan.get("training"), plan.get("dataset")
    if plan.get("work") != "train" or not isinstance(training, dict) or not dataset:
        return Outlook()
    price = prices.current(stack).get("training", {}).get(training.get("instance_type"))
    per_hour = price * training.get("instance_count", 1) if price else None
    return Outlook(next(_trainings(stack, str(dataset)), None), per_hour)


def _trainings(stack: Stack, dataset: str) -> Iterator[Former]:
    """Yield the runs that trained on a dataset, newest first."""
    beginning = beginning_of_name(stack, dataset)
    stored = (
        each for each in reports.newest_first(stack) if each.run.removesuffix(id_in(each.run)) == beginning
    )
    for report in islice(stored, _MOST_REPORTS):
        document = reports.document(stack, report.run) or {}
        try:
            prepared, durations = document["dataset"] or {}, dict(document["durations"])
            if prepared.get("dataset") == dataset and document["job"] and "total" in durations:
                total = float(durations.pop("total"))
                yield Former(
                    id=id_in(report.run),
                    ended=report.written,
                    status=str(document["status"]),
                    durations={str(step): float(seconds) for step, seconds in durations.items()},
                    total=total,
                    training_cost=(document.get("cost") or {}).get("total"),
                    words=int(prepared["splits"]["train"]["words"]),
                    hyperparameters=document.get("hyperparameters") or {},
                )
        except UNREADABLE:
            continue
