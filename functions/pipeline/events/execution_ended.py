"""EventBridge's event that an execution has ended, in whatever way: hand over its lease and its uploads."""

from contracts.events import ExecutionChange
from coordination.handover import hand_over
from core import environment
from core.errors import ServiceUnavailable
from entry_point import step


@step(ExecutionChange)
def handler(event: ExecutionChange) -> None:
    """Hand over what the execution leaves.

    Raises:
        ServiceUnavailable: Step Functions still reports the execution as running. EventBridge then sends the
            event again; there is no other event about this end, and DescribeExecution is eventually
            consistent.
    """
    arn = event.execution_arn
    if not hand_over(environment.endpoint_name(), arn):
        raise ServiceUnavailable(f"Step Functions does not report yet that {arn} has ended.")
