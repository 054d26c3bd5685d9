"""The time and the cost that a run has left."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lexline.aws.outlook import Former, Outlook
from lexline.aws.training_progress import Progress
from lexline.aws.watcher import Snapshot
from lexline.display import estimates
from tests.unit.lexline.display.test_run_progress import HALF, snapshot, step
from tests.unit.lexline.samples import WHEN

DURATIONS = {"plan": 1.0, "find_model": 0.0, "train": 300.0, "deploy": 200.0, "smoke_test": 10.0}
FORMER = Former("1" * 12, WHEN, "Succeeded", DURATIONS, 511.0, 0.02, 9000)
TRAINS = step("Train", "running", 0.0)
"""It has run for 60 seconds."""


def left(*steps: Any, outlook: Outlook | None = None, training: Progress | None = None, **more: Any) -> str:
    shown: Snapshot = snapshot(step("Plan", "done"), *steps, training=training, **more)
    return estimates.in_words(replace(shown, outlook=outlook))


@pytest.mark.parametrize(
    ("former", "expected"),
    [
        # Half of the training took 30 s. Then come 200 s and 10 s.
        (FORMER, "About 4 min 00 s left in this run; the rest of the training costs about $0.01 on AWS."),
        (None, "About 30 s left in the training; the rest of the training costs about $0.01 on AWS."),
    ],
)
def test_the_training_goes_on_at_its_speed_and_the_other_steps_take_as_long_as_last_time(
    former: Former | None, expected: str
) -> None:
    outlook = Outlook(former, 1.2)
    assert left(TRAINS, outlook=outlook, training=HALF) == expected


def test_before_the_training_has_a_speed_it_takes_as_long_as_last_time() -> None:
    assert left(TRAINS, outlook=Outlook(FORMER)) == "About 7 min 30 s left in this run."
    waits = step("Acquire", "running", 0.0)
    assert left(waits, outlook=Outlook(FORMER)) == "About 8 min 30 s left in this run."


def test_after_the_training_only_the_other_steps_are_left() -> None:
    deploys = step("Deploy", "running", 0.0)
    done = replace(TRAINS, state="done")
    assert left(done, deploys, outlook=Outlook(FORMER, 1.2)) == "About 2 min 30 s left in this run."
    late = replace(deploys, entered=WHEN - timedelta(hours=1))
    assert left(done, late, outlook=Outlook(FORMER, 1.2)) == "About 10 s left in this run."


@pytest.mark.parametrize(
    ("outlook", "more"),
    [
        (None, {"training": HALF}),
        (Outlook(), {}),
        (Outlook(None, 1.2), {"training": replace(HALF, step=0)}),
        (Outlook(FORMER, 1.2), {"status": "SUCCEEDED"}),
        (Outlook(None, 1.2), {"training": replace(HALF, finished=True)}),
    ],
)
def test_nothing_is_said_that_nobody_knows(outlook: Outlook | None, more: dict[str, Any]) -> None:
    assert left(TRAINS, outlook=outlook, **more) == ""
