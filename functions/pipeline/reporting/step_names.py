"""The steps in words. `step_names.json` has the name of each; the command reads that file too."""

import functools
import json
from pathlib import Path


def in_words(step: str) -> str:
    """Return a step's name in words, given its state (SmokeTest) or its durations' name (smoke_test).

    A step without a name in words keeps its own.
    """
    return _names().get(_plain(step), step)


@functools.cache
def _names() -> dict[str, str]:
    names = json.loads(Path(__file__).with_name("step_names.json").read_text(encoding="utf-8"))
    return {_plain(state): name for state, name in names.items()}


def _plain(step: str) -> str:
    return step.replace("_", "").lower()
