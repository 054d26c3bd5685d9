"""lease: one run at a time may change the endpoint, the others queue, and fencing stops a stale run."""

import time

import pytest

from contracts.run import Lease, Run
from coordination import lease
from coordination.lease import Held, Waiter
from core.errors import LeaseLost, ServiceUnavailable
from tests.unit.pipeline.conftest import Clock, NewRun
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory

ITEM = "endpoint/lexline"


@pytest.fixture
def runs(table: TableInMemory, new_run: NewRun) -> list[Run]:
    return [new_run(name) for name in ("first", "second", "third")]


def held() -> Held:
    return lease.read("lexline")


def queue() -> list[str]:
    return [waiter.run for waiter in held().waiting]


def acquired(run: Run, token: str = "token") -> Lease:
    taken = lease.acquire(run, token)
    assert taken is not None
    return taken


def waits(run: Run, token: str = "token") -> bool:
    return lease.acquire(run, token) is None


# --- acquiring


def test_the_first_run_takes_the_lease(runs: list[Run]) -> None:
    assert held() == Held("lexline")
    assert acquired(runs[0]) == Lease(owner=runs[0].name, generation=1)
    assert (held().owner, held().execution) == (runs[0].name, runs[0].execution.id)


def test_acquiring_again_extends_the_same_lease(runs: list[Run], clock: Clock) -> None:
    first, until = acquired(runs[0]), held().until
    clock(1000)
    assert acquired(runs[0]) == first
    assert held().until >= until + 1000
    assert held().until <= time.time() + lease.SECONDS


def test_other_runs_queue_in_order_of_arrival_and_keep_their_place(runs: list[Run], clock: Clock) -> None:
    acquired(runs[0])
    for run in runs[1:]:
        assert waits(run, "token-1")
        clock(1)
    assert waits(runs[1], "token-2")
    assert [(waiter.run, waiter.token) for waiter in held().waiting] == [
        (runs[1].name, "token-2"),
        (runs[2].name, "token-1"),
    ]


def test_leave_removes_a_run_from_the_queue(runs: list[Run]) -> None:
    acquired(runs[0])
    waits(runs[1])
    for run in (runs[1], runs[1], runs[2]):
        lease.leave("lexline", run.name)
    assert (queue(), held().owner) == ([], runs[0].name)


def test_another_run_takes_an_expired_lease(runs: list[Run], clock: Clock) -> None:
    former = acquired(runs[0])
    clock(lease.SECONDS + 1)
    assert acquired(runs[1]).generation == former.generation + 1
    with pytest.raises(LeaseLost):
        lease.renew(runs[0], former)


def test_acquire_is_retried_if_the_lease_changes_during_every_attempt(
    table: TableInMemory, runs: list[Run]
) -> None:
    acquired(runs[0])

    def change() -> None:
        table.put(ITEM, **{**table.get(ITEM), "generation": held().generation + 1})

    table.meanwhile(*[change] * 5)
    with pytest.raises(ServiceUnavailable, match="changed during every attempt"):
        lease.acquire(runs[1], "token")


# --- renewing


def test_the_owner_keeps_the_lease_by_renewing_it(runs: list[Run], clock: Clock) -> None:
    """It may even renew an expired lease, if no other run has taken it."""
    mine = acquired(runs[0])
    for seconds in (lease.SECONDS - 10, lease.SECONDS - 10, lease.SECONDS * 3):
        clock(seconds)
        lease.renew(runs[0], mine)
    assert waits(runs[1])


@pytest.mark.parametrize("owner", [None, "another run", "the same run again"])
def test_a_stale_lease_cannot_be_renewed(
    table: TableInMemory, runs: list[Run], owner: str | None, clock: Clock
) -> None:
    stale = acquired(runs[0])
    if owner is None:
        lease.pass_on(held(), None)
    else:
        clock(lease.SECONDS + 1)
        acquired(runs[1])
    if owner == "the same run again":
        clock(lease.SECONDS + 1)
        acquired(runs[0])
    before = table.get(ITEM)
    with pytest.raises(LeaseLost, match=f"Run {runs[0].name} .* Start it again"):
        lease.renew(runs[0], stale)
    assert table.get(ITEM) == before


# --- passing on


def test_the_next_owner_has_the_lease_and_left_the_queue(runs: list[Run]) -> None:
    stale = acquired(runs[0])
    waits(runs[1])
    assert lease.pass_on(held(), held().waiting[0])
    assert queue() == []
    assert acquired(runs[1]) == Lease(owner=runs[1].name, generation=stale.generation + 1)
    with pytest.raises(LeaseLost):
        lease.renew(runs[0], stale)


def test_the_generation_rises_even_after_the_lease_was_free(runs: list[Run]) -> None:
    acquired(runs[0])
    assert lease.pass_on(held(), None)
    assert held() == Held("lexline", generation=1)
    assert acquired(runs[1]).generation == 2


def test_a_lease_is_passed_on_once(runs: list[Run]) -> None:
    acquired(runs[0])
    waits(runs[1])
    seen = held()
    assert lease.pass_on(seen, seen.waiting[0])
    assert not lease.pass_on(seen, seen.waiting[0])
    assert not lease.pass_on(seen, None)
    assert held().owner == runs[1].name


# --- another run writes between this one's read and its write


def test_the_lease_is_not_freed_if_a_run_has_just_queued(runs: list[Run]) -> None:
    acquired(runs[0])
    seen = held()
    waits(runs[1])
    assert not lease.pass_on(seen, None)
    assert queue() == [runs[1].name]


def test_a_run_takes_the_lease_that_is_freed_while_it_queues(table: TableInMemory, runs: list[Run]) -> None:
    acquired(runs[0])
    seen = held()
    table.meanwhile(lambda: lease.pass_on(seen, None))
    assert acquired(runs[1]).generation == 2
    assert queue() == []


def test_a_run_finds_the_lease_that_is_passed_to_it_while_it_queues(
    table: TableInMemory, runs: list[Run]
) -> None:
    acquired(runs[0])
    waits(runs[1], "token-1")
    seen = held()
    table.meanwhile(lambda: lease.pass_on(seen, seen.waiting[0]))
    assert acquired(runs[1], "token-2").generation == 2
    assert queue() == []


def test_one_of_two_runs_that_find_the_lease_free_waits(table: TableInMemory, runs: list[Run]) -> None:
    table.meanwhile(lambda: acquired(runs[1]))
    assert waits(runs[0])
    assert (held().owner, queue()) == (runs[1].name, [runs[0].name])
    lease.leave("lexline", runs[0].name)
    lease.pass_on(held(), None)
    table.meanwhile(lambda: acquired(runs[2]))
    assert waits(runs[0])


def test_an_owner_that_renews_at_the_last_moment_keeps_the_lease(
    table: TableInMemory, runs: list[Run], clock: Clock
) -> None:
    mine = acquired(runs[0])
    clock(lease.SECONDS + 1)
    table.meanwhile(lambda: lease.renew(runs[0], mine))
    assert waits(runs[1])
    lease.renew(runs[0], mine)


def test_an_owner_that_loses_the_lease_while_it_acquires_queues(
    table: TableInMemory, runs: list[Run], clock: Clock
) -> None:
    acquired(runs[0])
    clock(lease.SECONDS + 1)
    table.meanwhile(lambda: acquired(runs[1]))
    assert waits(runs[0])
    assert queue() == [runs[0].name]


@pytest.mark.parametrize("change", ["left", "new token"])
def test_the_lease_is_not_passed_to_a_waiter_that_cannot_be_woken(runs: list[Run], change: str) -> None:
    acquired(runs[0])
    waits(runs[1], "token-1")
    seen = held()
    if change == "left":
        lease.leave("lexline", runs[1].name)
    else:
        waits(runs[1], "token-2")
    assert not lease.pass_on(seen, seen.waiting[0])
    assert held().owner == runs[0].name


def test_the_lease_is_not_passed_to_a_run_that_has_queued_since_the_read(runs: list[Run]) -> None:
    acquired(runs[0])
    seen = held()
    waits(runs[1])
    # The caller does not know the run's token, so it could not wake the run.
    assert not lease.pass_on(seen, Waiter(runs[1].name, runs[1].execution.id, "", 0))
    assert lease.pass_on(held(), held().waiting[0])
