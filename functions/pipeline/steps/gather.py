"""Gather: wait until the dataset is quiet, or join the execution that already gathers its uploads."""

from contracts.run import Gathered, GatherInput
from coordination import arrivals
from entry_point import step


@step(GatherInput)
def handler(given: GatherInput) -> Gathered:
    """Return how long to wait, or which run this upload joined."""
    return arrivals.gather(given.run)
