"""Estimates for a run in progress: the time and the cost that are left."""

from __future__ import annotations

from lexline.aws.history import TRAIN
from lexline.aws.watcher import Snapshot
from lexline.display import formatting, step_names
from lexline.display.cost import about

_CERTAIN = 0.02
"""Before this fraction of the training, an estimate from its speed would be too far off."""


def training_left(snapshot: Snapshot) -> float | None:
    """Return how many seconds the training needs until its end, by its speed so far; None if unknown."""
    fraction = snapshot.training.fraction
    if snapshot.training_since is None or not _CERTAIN < fraction < 1.0:
        return None
    return (snapshot.now - snapshot.training_since).total_seconds() * (1 / fraction - 1)


def in_words(snapshot: Snapshot) -> str:
    """Return a sentence on the time and the cost that a run has left; "" if nothing is known.

    The training's time follows from its speed. Other steps take as long as in the dataset's last run.
    """
    outlook = snapshot.outlook
    if outlook is None or snapshot.ended:
        return ""
    training = _training_left(snapshot)
    others = _others_left(snapshot)
    if training is None or (others is None and not training):
        return ""
    cost = outlook.training_per_hour and training * outlook.training_per_hour / 3600
    time = f"about {formatting.duration(training + (others or 0))} left"
    parts = [f"{time} in this run" if others is not None else f"{time} in the training"]
    if cost:
        parts.append(f"the rest of the training costs {about(cost)} on AWS")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _training_left(snapshot: Snapshot) -> float | None:
    """Return the seconds of training that are left; 0 if it is over, None if nothing tells."""
    former = snapshot.outlook.former if snapshot.outlook else None
    step = next((step for step in snapshot.steps if step.name == TRAIN), None)
    if step and (step.state != "running" or snapshot.training.finished):
        return 0.0
    by_speed = training_left(snapshot)
    if by_speed is not None:
        return by_speed
    if former is None:
        return None
    elapsed = step.elapsed(snapshot.now) if step else 0.0
    return max(0.0, former.durations.get("train", 0.0) - elapsed)


def _others_left(snapshot: Snapshot) -> float | None:
    """Return the seconds that all other steps still need; None if no former run tells."""
    former = snapshot.outlook.former if snapshot.outlook else None
    if former is None:
        return None
    steps = {step_names.plain(step.name): step for step in snapshot.steps}
    left = 0.0
    for name, seconds in former.durations.items():
        step = steps.get(step_names.plain(name))
        if name == "train":
            continue
        if step is None:
            left += seconds
        elif step.state == "running":
            left += max(0.0, seconds - step.elapsed(snapshot.now))
    return left
