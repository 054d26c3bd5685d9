"""acquire: a run gets the lease or waits in the queue, and an ended owner keeps no run waiting."""

import json
from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.run import Run
from coordination import lease, task_tokens
from coordination.handover import hand_over
from reporting import sns_messages
from steps import acquire
from tests.unit.pipeline.conftest import Clock, NewRun
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory

Enters = Callable[[Run], str]


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs about whose start a message was sent."""
    started: list[str] = []
    monkeypatch.setattr(sns_messages, "started", lambda run: started.append(run.name))
    return started


@pytest.fixture
def enters(machine: ExecutionsInMemory, context: LambdaContext, reported: list[str]) -> Enters:
    """enters(run): enter the run's Acquire state, and return how its wait ended; empty while it waits."""

    def enter(run: Run) -> str:
        token = machine.wait(run.execution.id)
        acquire.handler({"token": token, "run": json.loads(run.model_dump_json())}, context)
        return machine.heard(run.execution.id)

    return enter


@pytest.fixture
def runs(table: TableInMemory, new_run: NewRun, enters: Enters) -> tuple[Run, Run]:
    """Two runs; the first owns the lease."""
    first, second = new_run("first"), new_run("second")
    assert enters(first) == "Success"
    return first, second


def owner() -> str | None:
    return lease.read("lexline").owner


def test_a_run_starts_when_it_has_the_lease(
    machine: ExecutionsInMemory, runs: tuple[Run, Run], enters: Enters, reported: list[str]
) -> None:
    first, second = runs
    assert enters(second) == ""
    assert reported == [first.name]
    machine.end(first.execution.id, "SUCCEEDED")
    hand_over("lexline", first.execution.id)
    assert machine.heard(second.execution.id) == task_tokens.YOUR_TURN
    assert enters(second) == "Success"
    assert reported == [first.name, second.name]


@pytest.mark.parametrize(("status", "error"), [("SUCCEEDED", ""), ("FAILED", "TrainingFailed")])
def test_a_waiting_run_notices_the_owners_end_without_an_event(
    machine: ExecutionsInMemory, runs: tuple[Run, Run], enters: Enters, status: str, error: str
) -> None:
    first, second = runs
    machine.end(first.execution.id, status, error)
    assert enters(second) == "Success"
    assert owner() == second.name


@pytest.mark.parametrize("late", [0, lease.SECONDS + 1])
def test_a_waiting_run_waits_for_the_cleanup_of_an_aborted_owner_even_if_the_lease_has_expired(
    machine: ExecutionsInMemory, runs: tuple[Run, Run], enters: Enters, clock: Clock, late: float
) -> None:
    first, second = runs
    machine.end(first.execution.id, "ABORTED")
    clock(late)
    assert enters(second) == ""
    (cleanup,) = machine.started("cleanup")
    held = lease.read("lexline")
    assert held.execution == cleanup
    assert [waiter.run for waiter in held.waiting] == [second.name]


def test_a_run_whose_execution_ends_while_it_takes_the_lease_does_not_keep_it(
    table: TableInMemory, machine: ExecutionsInMemory, new_run: NewRun, enters: Enters
) -> None:
    run = new_run("first")
    # The only event of its end comes before it owns anything.
    table.meanwhile(lambda: machine.end(run.execution.id, "FAILED", "States.Runtime"))
    enters(run)
    (cleanup,) = machine.started("cleanup")
    assert lease.read("lexline").execution == cleanup
