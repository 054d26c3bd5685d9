"""The step before an upload's run: wait until the dataset is quiet, or join the run that already does."""

from __future__ import annotations

import arrivals
import settings
from contracts import Gathered, GatherInput
from step import step


@step(GatherInput)
def handler(given: GatherInput) -> Gathered:
    return Gathered(seconds=arrivals.gather(given.run, settings.quiet_seconds()))
