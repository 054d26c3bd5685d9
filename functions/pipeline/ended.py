"""EventBridge's wake-up when an execution has ended, by whatever way: its lease and its uploads go on."""

from __future__ import annotations

import settings
from contracts import ExecutionChange
from errors import ServiceUnavailable
from settle import settle
from step import step


@step(ExecutionChange)
def handler(event: ExecutionChange) -> None:
    """Raises ServiceUnavailable while Step Functions still says that it runs, for the event to come again.

    DescribeExecution is eventually consistent (its reference), and there is no other event of this end.
    """
    arn = event.detail.execution_arn
    if not settle(settings.endpoint_name(), arn):
        raise ServiceUnavailable(f"Step Functions does not know yet that {arn} has ended.")
