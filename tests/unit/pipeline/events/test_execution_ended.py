"""ended: the event of an execution's end is a reason to look, and comes again until that is confirmed."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.run import Run
from coordination import lease
from core.errors import ServiceUnavailable
from events import execution_ended


def event(run: Run, status: str) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": "111122223333",
        "time": "2026-03-01T12:10:00Z",
        "region": "eu-west-1",
        "resources": [run.execution.id],
        "detail": {"executionArn": run.execution.id, "status": status, "name": "first", "error": None},
    }


def test_the_event_of_an_end_passes_the_lease_on(
    table: Any, machine: Any, new_run: Callable[..., Run], context: Any
) -> None:
    run = new_run("first")
    lease.acquire(run, machine.wait(run.execution.id))
    machine.end(run.execution.id, "SUCCEEDED")
    execution_ended.handler(event(run, "SUCCEEDED"), context)
    assert lease.read("lexline").owner is None


def test_an_event_that_step_functions_does_not_confirm_yet_comes_again(
    table: Any, machine: Any, new_run: Callable[..., Run], context: Any
) -> None:
    run = new_run("first")
    lease.acquire(run, machine.wait(run.execution.id))
    with pytest.raises(ServiceUnavailable, match=r"does not know yet that .* has ended"):
        execution_ended.handler(event(run, "ABORTED"), context)
    assert lease.read("lexline").owner == run.name
