"""Waits for what comes eventually, on a machine of any speed."""

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE = 600.0
"""The longest wait in seconds, for busy machines. A wait ends as soon as its condition is true."""

Result = TypeVar("Result")


def wait_until(
    condition: Callable[[], Result | None],
    what: str | Callable[[], str],
    seconds: float = DEADLINE,
    pause: float = 0.05,
) -> Result:
    """Wait until a condition returns a true value, and return the value.

    Args:
        condition: Called again and again.
        what: The end of the sentence "waited for ...", or a function that returns it.
        seconds: The longest wait. AssertionError follows.
        pause: The time between two calls, in seconds.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, (
            f"waited {seconds:g} s for {what if isinstance(what, str) else what()}"
        )
        time.sleep(pause)
    return value
