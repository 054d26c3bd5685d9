"""The steps in words: the names that the pipeline's reports use, too, from the file of both."""

from __future__ import annotations

import functools
import json

from lexline.core import paths
from lexline.core.errors import UsageError


def in_words(step: str) -> str:
    """Return a step's name in words, given its state (SmokeTest) or its name in durations (smoke_test).

    A step that this version does not know keeps its own name.
    """
    return _names().get(plain(step), step)


def plain(step: str) -> str:
    """Return the letters of a step's name, which are the same in both spellings."""
    return step.replace("_", "").lower()


@functools.cache
def _names() -> dict[str, str]:
    try:
        content = (paths.repository() / paths.STEP_NAMES).read_text(encoding="utf-8")
    except (UsageError, OSError):
        # The package was installed without the repository around it.
        return {}
    return {plain(state): name for state, name in json.loads(content).items()}
