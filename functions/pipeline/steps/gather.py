"""The step before an upload's run: wait until the dataset is quiet, or join the run that already does."""

from __future__ import annotations

from contracts.run import Gathered, GatherInput
from coordination import arrivals
from core import environment
from entry_point import step


@step(GatherInput)
def handler(given: GatherInput) -> Gathered:
    return Gathered(seconds=arrivals.gather(given.run, environment.quiet_seconds()))
