"""EventBridge's wake-up when an execution has ended, by whatever way: its lease and its uploads go on."""

from __future__ import annotations

from contracts.events import ExecutionChange
from coordination.handover import hand_over
from core import environment
from core.errors import ServiceUnavailable
from entry_point import step


@step(ExecutionChange)
def handler(event: ExecutionChange) -> None:
    """Raises ServiceUnavailable while Step Functions still says that it runs, for the event to come again.

    DescribeExecution is eventually consistent (its reference), and there is no other event of this end.
    """
    arn = event.detail.execution_arn
    if not hand_over(environment.endpoint_name(), arn):
        raise ServiceUnavailable(f"Step Functions does not know yet that {arn} has ended.")
