"""acquire: a run has the lease or waits in line for it, and a dead holder keeps nobody waiting."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.run import Run
from coordination import lease, task_tokens
from coordination.handover import hand_over
from coordination.lease import Held
from steps import acquire


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs of which it was told that they have started."""
    names_told: list[str] = []
    monkeypatch.setattr("reporting.messages.started", lambda run: names_told.append(run.name))
    return names_told


@pytest.fixture
def steps(machine: Any, context: Any, told: list[str]) -> Callable[[Run], str]:
    """steps(run): let the run's Acquire state be entered; what its wait has heard, if anything."""

    def enter(run: Run) -> str:
        token = machine.wait(run.execution.id)
        acquire.handler({"token": token, "run": json.loads(run.model_dump_json())}, context)
        return str(machine.heard(run.execution.id))

    return enter


def held() -> Held:
    return lease.read("lexline")


def end(machine: Any, run: Run) -> None:
    machine.end(run.execution.id, "SUCCEEDED")
    hand_over("lexline", run.execution.id)


def test_a_free_lease_answers_the_step_and_people_are_told(
    table: Any, machine: Any, new_run: Callable[..., Run], steps: Any, told: list[str]
) -> None:
    run = new_run("first")
    assert steps(run) == "Success"
    assert told == [run.name]


def test_a_lease_that_another_holds_answers_nothing_yet(
    table: Any, machine: Any, new_run: Callable[..., Run], steps: Any, told: list[str]
) -> None:
    first, second = new_run("first"), new_run("second")
    steps(first)
    assert steps(second) == ""
    assert told == [first.name]
    end(machine, first)
    assert machine.heard(second.execution.id) == task_tokens.YOUR_TURN
    assert steps(second) == "Success"
    assert told == [first.name, second.name]


@pytest.mark.parametrize(("status", "error"), [("SUCCEEDED", ""), ("FAILED", "TrainingFailed")])
def test_whoever_asks_finds_out_that_the_holder_is_done_though_no_event_came(
    table: Any, machine: Any, new_run: Callable[..., Run], steps: Any, status: str, error: str
) -> None:
    first, second = new_run("first"), new_run("second")
    steps(first)
    machine.end(first.execution.id, status, error)
    assert steps(second) == "Success"
    assert held().owner == second.name


@pytest.mark.parametrize("late", [0, lease.SECONDS + 1])
def test_whoever_asks_waits_until_what_a_dead_holder_left_is_cleaned_up(
    table: Any,
    machine: Any,
    new_run: Callable[..., Run],
    steps: Any,
    clock: Callable[[float], None],
    late: float,
) -> None:
    first, second = new_run("first"), new_run("second")
    steps(first)
    machine.end(first.execution.id, "ABORTED")
    # Even a lease that has lapsed.
    clock(late)
    assert steps(second) == ""
    (cleaner,) = machine.started("cleanup")
    assert held().execution == cleaner
    assert [waiter.run for waiter in held().waiting] == [second.name]


def test_a_holder_that_runs_but_was_silent_for_too_long_is_overtaken(
    table: Any, machine: Any, new_run: Callable[..., Run], steps: Any, clock: Callable[[float], None]
) -> None:
    first, second = new_run("first"), new_run("second")
    steps(first)
    clock(lease.SECONDS + 1)
    assert steps(second) == "Success"
    assert held().owner == second.name


def test_a_run_whose_execution_ended_while_it_took_the_lease_does_not_keep_it(
    table: Any, machine: Any, new_run: Callable[..., Run], steps: Any
) -> None:
    run = new_run("first")
    # The event of its end comes before it holds anything, and is the only one.
    table.meanwhile(lambda: machine.end(run.execution.id, "FAILED", "States.Runtime"))
    steps(run)
    (cleaner,) = machine.started("cleanup")
    assert held().execution == cleaner


def test_a_run_that_comes_back_after_a_timeout_has_the_lease_that_it_was_given_meanwhile(
    table: Any, machine: Any, new_run: Callable[..., Run], steps: Any
) -> None:
    first, second = new_run("first"), new_run("second")
    steps(first)
    steps(second)
    machine.executions[second.execution.id].token = ""
    end(machine, first)
    assert steps(second) == "Success"
    assert steps(second) == "Success"
    assert held().generation == 2
