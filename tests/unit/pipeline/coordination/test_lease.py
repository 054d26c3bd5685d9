"""lease: one run at a time may change the endpoint, the others wait in line, and no stale run gets past."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from contracts.run import Lease, Run
from coordination import lease
from coordination.lease import Held, Waiter
from core.errors import LeaseLost, ServiceUnavailable

ITEM = "endpoint/lexline"


@pytest.fixture
def runs(new_run: Callable[..., Run]) -> list[Run]:
    return [new_run(name) for name in ("first", "second", "third")]


def held() -> Held:
    return lease.read("lexline")


def in_line() -> list[str]:
    return [waiter.run for waiter in held().waiting]


def acquired(run: Run, token: str = "token") -> Lease:
    got = lease.acquire(run, token)
    assert got is not None
    return got


# --- taking it, and waiting for it


def test_the_first_run_takes_a_lease_that_nobody_ever_had(table: Any, runs: list[Run]) -> None:
    assert held() == Held("lexline")
    assert acquired(runs[0]) == Lease(owner=runs[0].name, generation=1)
    assert (held().owner, held().execution) == (runs[0].name, runs[0].execution.id)
    assert held().until == pytest.approx(time.time() + lease.SECONDS, abs=5)


def test_a_run_that_asks_again_has_the_same_lease_for_longer(
    table: Any, runs: list[Run], clock: Callable[[float], None]
) -> None:
    first = acquired(runs[0])
    clock(1000)
    assert acquired(runs[0]) == first
    assert held().until == pytest.approx(time.time() + lease.SECONDS, abs=5)


def test_the_others_wait_in_order_of_arrival_and_keep_their_place(
    table: Any, runs: list[Run], clock: Callable[[float], None]
) -> None:
    acquired(runs[0])
    for run in runs[1:]:
        assert lease.acquire(run, "token-1") is None
        clock(1)
    assert lease.acquire(runs[1], "token-2") is None
    assert [(waiter.run, waiter.token) for waiter in held().waiting] == [
        (runs[1].name, "token-2"),
        (runs[2].name, "token-1"),
    ]


def test_a_run_that_waits_no_longer_leaves_the_line(table: Any, runs: list[Run]) -> None:
    acquired(runs[0])
    lease.acquire(runs[1], "token")
    for run in (runs[1], runs[1], runs[2]):
        lease.leave("lexline", run.name)
    assert in_line() == []
    assert held().owner == runs[0].name


def test_a_lease_without_a_sign_of_life_lapses_and_the_next_run_takes_it(
    table: Any, runs: list[Run], clock: Callable[[float], None]
) -> None:
    former = acquired(runs[0])
    clock(lease.SECONDS + 1)
    assert acquired(runs[1]).generation == former.generation + 1
    with pytest.raises(LeaseLost):
        lease.renew(runs[0], former)


def test_a_lease_that_changes_hands_at_every_look_is_an_error_to_try_again(
    table: Any, runs: list[Run], new_run: Callable[..., Run]
) -> None:
    acquired(runs[0])

    def hand_on() -> None:
        table.items[ITEM]["generation"]["N"] = str(held().generation + 1)

    table.meanwhile(*[hand_on] * 5)
    with pytest.raises(ServiceUnavailable, match="changed hands at every look"):
        lease.acquire(runs[1], "token")


# --- keeping it


def test_the_holder_keeps_it_by_renewing_it(
    table: Any, runs: list[Run], clock: Callable[[float], None]
) -> None:
    mine = acquired(runs[0])
    for _ in range(3):
        clock(lease.SECONDS - 10)
        lease.renew(runs[0], mine)
    assert lease.acquire(runs[1], "token") is None


def test_a_lapsed_lease_that_nobody_took_is_still_the_holders(
    table: Any, runs: list[Run], clock: Callable[[float], None]
) -> None:
    mine = acquired(runs[0])
    clock(lease.SECONDS * 3)
    lease.renew(runs[0], mine)
    assert lease.acquire(runs[1], "token") is None


@pytest.mark.parametrize("now", ["nobody's", "another's", "its own again"])
def test_a_run_without_the_lease_is_stopped_with_a_sentence(
    table: Any, runs: list[Run], now: str, clock: Callable[[float], None]
) -> None:
    stale = acquired(runs[0])
    if now == "nobody's":
        lease.pass_on(held(), None)
    else:
        clock(lease.SECONDS + 1)
        acquired(runs[1])
    if now == "its own again":
        clock(lease.SECONDS + 1)
        acquired(runs[0])
    before = table.get(ITEM)
    with pytest.raises(LeaseLost, match=f"Run {runs[0].name} held the lease on endpoint lexline"):
        lease.renew(runs[0], stale)
    assert table.get(ITEM) == before


# --- passing it on


def test_it_goes_to_the_waiter_who_then_has_it_and_waits_no_more(table: Any, runs: list[Run]) -> None:
    stale = acquired(runs[0])
    lease.acquire(runs[1], "token")
    assert lease.pass_on(held(), held().waiting[0])
    assert in_line() == []
    assert acquired(runs[1]) == Lease(owner=runs[1].name, generation=stale.generation + 1)
    with pytest.raises(LeaseLost):
        lease.renew(runs[0], stale)


def test_after_it_was_nobodys_its_number_goes_on(table: Any, runs: list[Run]) -> None:
    acquired(runs[0])
    assert lease.pass_on(held(), None)
    assert held() == Held("lexline", generation=1)
    assert acquired(runs[1]).generation == 2


def test_it_is_passed_on_once_however_often_that_is_tried(table: Any, runs: list[Run]) -> None:
    acquired(runs[0])
    lease.acquire(runs[1], "token")
    seen = held()
    assert lease.pass_on(seen, seen.waiting[0])
    assert not lease.pass_on(seen, seen.waiting[0])
    assert not lease.pass_on(seen, None)
    assert held().owner == runs[1].name


# --- when another is between the look and the write


def test_it_does_not_become_nobodys_when_somebody_has_just_queued(table: Any, runs: list[Run]) -> None:
    acquired(runs[0])
    seen = held()
    lease.acquire(runs[1], "token")
    assert not lease.pass_on(seen, None)
    assert in_line() == [runs[1].name]


def test_nobody_queues_behind_a_holder_who_has_just_gone(table: Any, runs: list[Run]) -> None:
    acquired(runs[0])
    seen = held()
    table.meanwhile(lambda: lease.pass_on(seen, None))
    assert acquired(runs[1]).generation == 2
    assert in_line() == []


def test_nobody_queues_behind_the_lease_that_is_just_becoming_his(table: Any, runs: list[Run]) -> None:
    acquired(runs[0])
    lease.acquire(runs[1], "token-1")
    seen = held()
    table.meanwhile(lambda: lease.pass_on(seen, seen.waiting[0]))
    assert acquired(runs[1], "token-2").generation == 2
    assert in_line() == []


def test_of_two_who_find_it_free_one_gets_it_and_the_other_waits(table: Any, runs: list[Run]) -> None:
    table.meanwhile(lambda: acquired(runs[1]))
    assert lease.acquire(runs[0], "token") is None
    assert (held().owner, in_line()) == (runs[1].name, [runs[0].name])
    lease.leave("lexline", runs[0].name)
    lease.pass_on(held(), None)
    table.meanwhile(lambda: acquired(runs[2]))
    assert lease.acquire(runs[0], "token") is None


def test_a_holder_who_gives_a_sign_in_the_last_moment_keeps_it(
    table: Any, runs: list[Run], clock: Callable[[float], None]
) -> None:
    mine = acquired(runs[0])
    clock(lease.SECONDS + 1)
    table.meanwhile(lambda: lease.renew(runs[0], mine))
    assert lease.acquire(runs[1], "token") is None
    lease.renew(runs[0], mine)


def test_a_run_that_loses_it_while_it_asks_for_it_gets_in_line(
    table: Any, runs: list[Run], clock: Callable[[float], None]
) -> None:
    acquired(runs[0])
    clock(lease.SECONDS + 1)
    table.meanwhile(lambda: acquired(runs[1]))
    assert lease.acquire(runs[0], "token") is None
    assert in_line() == [runs[0].name]


@pytest.mark.parametrize("moved", ["has left the line", "waits on another token"])
def test_it_is_not_given_to_a_waiter_who_would_not_hear_of_it(
    table: Any, runs: list[Run], moved: str
) -> None:
    acquired(runs[0])
    lease.acquire(runs[1], "token-1")
    seen = held()
    if moved == "has left the line":
        lease.leave("lexline", runs[1].name)
    else:
        lease.acquire(runs[1], "token-2")
    assert not lease.pass_on(seen, seen.waiting[0])
    assert held().owner == runs[0].name


def test_it_is_not_given_past_the_line_to_one_who_has_just_got_in_line(table: Any, runs: list[Run]) -> None:
    acquired(runs[0])
    seen = held()
    lease.acquire(runs[1], "token")
    # Whoever does so knows no token, and could not wake it.
    assert not lease.pass_on(seen, Waiter(runs[1].name, runs[1].execution.id, "", 0))
    assert lease.pass_on(held(), held().waiting[0])
