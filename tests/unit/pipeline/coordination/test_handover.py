"""settle: whatever an execution leaves when it ends goes on, once, and even where the event was lost."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.run import Lease, Run
from coordination import arrivals, lease, task_tokens
from coordination.handover import hand_over
from coordination.lease import Held
from core import names
from core.errors import LeaseLost, NothingToDo, ServiceUnavailable, Throttled

QUIET = 60


@pytest.fixture
def ends(machine: Any) -> Callable[..., bool]:
    """ends(run, status, error): let the run's execution end so, and settle what it leaves."""

    def end(run: Run, status: str = "SUCCEEDED", error: str = "") -> bool:
        machine.end(run.execution.id, status, error)
        return hand_over("lexline", run.execution.id)

    return end


@pytest.fixture
def asks(machine: Any) -> Callable[[Run], Lease | None]:
    """asks(run): let the run ask for the lease, waiting on a new token."""
    return lambda run: lease.acquire(run, machine.wait(run.execution.id))


@pytest.fixture
def uploads(new_run: Callable[..., Run]) -> list[Run]:
    """Four uploads' runs: the first gathers, two have joined it, one is still to come."""
    runs = []
    for number in range(4):
        upload = {"bucket": "texts", "key": f"uploads/sotu/{number}.txt", "etag": "9b2cf535", "size": 120}
        runs.append(new_run(f"upload-{number}", upload=upload))
    return runs


def gathered(uploads: list[Run], count: int) -> Run:
    """The first upload's run, which gathers `count` in all."""
    arrivals.gather(uploads[0], QUIET)
    for run in uploads[1:count]:
        with pytest.raises(NothingToDo):
            arrivals.gather(run, QUIET)
    return uploads[0]


def held() -> Held:
    return lease.read("lexline")


def woken(machine: Any, run: Run) -> bool:
    return bool(machine.heard(run.execution.id) == task_tokens.YOUR_TURN)


# --- the lease


def test_an_execution_that_runs_is_left_alone(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any
) -> None:
    run = new_run("first")
    asks(run)
    before = held()
    assert hand_over("lexline", run.execution.id) is False
    assert held() == before


@pytest.mark.parametrize(("status", "error"), [("SUCCEEDED", ""), ("FAILED", "TrainingFailed")])
def test_who_has_done_leaves_the_lease_to_nobody_where_nobody_waits(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any, status: str, error: str
) -> None:
    run = new_run("first")
    asks(run)
    assert ends(run, status, error) is True
    assert held() == Held("lexline", generation=1)
    assert list(machine.executions) == [run.execution.id]


def test_the_first_in_line_is_woken_and_finds_the_lease_his(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second, third = (new_run(name) for name in ("first", "second", "third"))
    for run in (first, second, third):
        asks(run)
    ends(first)
    assert (woken(machine, second), woken(machine, third)) == (True, False)
    assert asks(second) == Lease(owner=second.name, generation=2)
    ends(second)
    assert woken(machine, third)
    assert asks(third) == Lease(owner=third.name, generation=3)


def test_an_event_that_comes_twice_takes_the_lease_from_nobody(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second = new_run("first"), new_run("second")
    asks(first)
    asks(second)
    ends(first)
    now = held()
    assert hand_over("lexline", first.execution.id) is True
    assert held() == now


def test_two_who_notice_an_end_at_once_pass_the_lease_on_once(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any
) -> None:
    first, second, third = (new_run(name) for name in ("first", "second", "third"))
    for run in (first, second, third):
        asks(run)
    machine.end(first.execution.id, "SUCCEEDED")
    table.meanwhile(lambda: hand_over("lexline", first.execution.id))
    hand_over("lexline", first.execution.id)
    assert (held().owner, held().generation) == (second.name, 2)
    assert (woken(machine, second), woken(machine, third)) == (True, False)


def test_who_queues_while_the_holder_ends_is_woken(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second = new_run("first"), new_run("second")
    asks(first)
    table.meanwhile(lambda: asks(second))
    ends(first)
    assert woken(machine, second)
    assert asks(second) == Lease(owner=second.name, generation=2)


def test_who_comes_back_with_a_new_token_while_the_holder_ends_is_woken_by_that(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second = new_run("first"), new_run("second")
    asks(first)
    asks(second)
    table.meanwhile(lambda: asks(second))
    ends(first)
    assert woken(machine, second)


def test_an_ended_waiter_leaves_the_line(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second, third = (new_run(name) for name in ("first", "second", "third"))
    for run in (first, second, third):
        asks(run)
    ends(second, "ABORTED")
    assert [waiter.run for waiter in held().waiting] == [third.name]
    ends(first)
    assert woken(machine, third)
    assert machine.started("cleanup") == []


def test_the_lease_goes_past_waiters_whose_end_nobody_noticed(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    runs = [new_run(str(number)) for number in range(4)]
    for run in runs:
        asks(run)
    for dead in runs[1:3]:
        machine.end(dead.execution.id, "FAILED", "AccessDenied")
    ends(runs[0])
    assert woken(machine, runs[3])
    assert held().owner == runs[3].name
    assert held().waiting == []


def test_a_waiter_that_ends_in_the_moment_it_gets_the_lease_passes_it_on(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second, third = (new_run(name) for name in ("first", "second", "third"))
    for run in (first, second, third):
        asks(run)
    machine.end(first.execution.id, "SUCCEEDED")
    # The first write of settling the second is to leave the line; it has the lease by then.
    table.meanwhile(lambda: hand_over("lexline", first.execution.id))
    ends(second, "FAILED", "AccessDenied")
    assert held().owner == third.name
    assert woken(machine, third)


def test_a_waiter_that_is_between_two_waits_keeps_the_lease_it_was_given(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second = new_run("first"), new_run("second")
    asks(first)
    asks(second)
    machine.executions[second.execution.id].token = ""
    ends(first)
    assert not woken(machine, second)
    assert asks(second) == Lease(owner=second.name, generation=2)


def test_a_lease_that_changes_at_every_look_is_an_error_to_try_again(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    run = new_run("first")
    mine = asks(run)
    table.meanwhile(*[lambda: lease.renew(run, mine)] * 5)
    with pytest.raises(ServiceUnavailable, match="changed at every look"):
        ends(run)
    assert hand_over("lexline", run.execution.id) is True
    assert held().owner is None


# --- cleaning up after a holder that could not


@pytest.mark.parametrize(
    ("status", "error"), [("ABORTED", ""), ("TIMED_OUT", ""), ("FAILED", "States.DataLimitExceeded")]
)
def test_after_a_holder_that_was_ended_somebody_cleans_up_before_anybody_else_works(
    table: Any,
    machine: Any,
    new_run: Callable[..., Run],
    asks: Any,
    ends: Any,
    status: str,
    error: str,
) -> None:
    first, second = new_run("first"), new_run("second")
    stale = asks(first)
    asks(second)
    ends(first, status, error)
    (cleaner,) = machine.started("cleanup")
    assert machine.input(cleaner) == {
        "cleanup_of": {"run": first.name, "execution": first.execution.id, "status": status}
    }
    # The name is the one that plan will give to the run of that execution.
    assert held().owner == names.run_name("lexline", "cleanup", cleaner)
    assert held().execution == cleaner
    assert not woken(machine, second)
    with pytest.raises(LeaseLost):
        lease.renew(first, stale)


def test_the_cleaner_finds_the_lease_his_and_the_line_goes_on_after_him(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second = new_run("first"), new_run("second")
    asks(first)
    asks(second)
    ends(first, "ABORTED")
    (arn,) = machine.started("cleanup")
    cleaner = cleanup_run(first, arn)
    assert asks(cleaner) == Lease(owner=cleaner.name, generation=2)
    ends(cleaner)
    assert woken(machine, second)
    assert len(machine.started("cleanup")) == 1


def test_a_cleaner_that_queued_before_it_was_given_the_lease_is_woken(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first = new_run("first")
    asks(first)

    def cleaner_is_fast() -> None:
        (arn,) = machine.started("cleanup")
        asks(cleanup_run(first, arn))

    table.meanwhile(cleaner_is_fast)
    ends(first, "ABORTED")
    (arn,) = machine.started("cleanup")
    assert held().execution == arn
    assert held().waiting == []
    assert machine.heard(arn) == task_tokens.YOUR_TURN


@pytest.mark.parametrize(("status", "error"), [("ABORTED", ""), ("TIMED_OUT", "")])
def test_a_cleaner_that_was_ended_is_followed_by_another_for_the_same_run(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any, status: str, error: str
) -> None:
    first = new_run("first")
    asks(first)
    ends(first, "ABORTED")
    (arn,) = machine.started("cleanup")
    ends(cleanup_run(first, arn), status, error)
    _, again = machine.started("cleanup")
    assert machine.input(again)["cleanup_of"]["run"] == first.name
    assert held().execution == again


@pytest.mark.parametrize("error", ["States.Runtime", "AccessDenied"])
def test_a_cleaner_that_failed_is_not_followed_by_others_that_would_fail_alike(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any, error: str
) -> None:
    first, second = new_run("first"), new_run("second")
    asks(first)
    asks(second)
    ends(first, "ABORTED")
    (arn,) = machine.started("cleanup")
    ends(cleanup_run(first, arn), "FAILED", error)
    assert len(machine.started("cleanup")) == 1
    assert woken(machine, second)


def test_a_cleaner_that_ended_before_it_had_the_lease_does_not_keep_it(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    first, second = new_run("first"), new_run("second")
    asks(first)
    asks(second)

    def cleaner_fails() -> None:
        (arn,) = machine.started("cleanup")
        machine.end(arn, "FAILED", "AccessDenied")
        hand_over("lexline", arn)

    table.meanwhile(cleaner_fails)
    ends(first, "ABORTED")
    assert held().owner == second.name
    assert woken(machine, second)


def test_an_ended_take_down_is_followed_by_nobody(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, ends: Any
) -> None:
    run = new_run("first")
    machine.executions[run.execution.id].input = json.dumps({"teardown_of": {"run": "lexline-sotu-1"}})
    asks(run)
    ends(run, "ABORTED")
    assert held().owner is None
    assert machine.started("cleanup") == []


def test_a_holder_that_step_functions_has_forgotten_is_cleaned_up_after(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any, clock: Callable[[float], None]
) -> None:
    run = new_run("first")
    asks(run)
    del machine.executions[run.execution.id]
    clock(90 * 24 * 3600)
    assert hand_over("lexline", run.execution.id) is True
    (cleaner,) = machine.started("cleanup")
    assert machine.input(cleaner)["cleanup_of"] == {
        "run": run.name,
        "execution": run.execution.id,
        "status": "forgotten",
    }


def test_a_holder_that_step_functions_does_not_know_yet_is_left_alone(
    table: Any, machine: Any, new_run: Callable[..., Run], asks: Any
) -> None:
    run = new_run("first")
    asks(run)
    del machine.executions[run.execution.id]
    before = held()
    assert hand_over("lexline", run.execution.id) is False
    assert held() == before
    assert not machine.executions


# --- the uploads


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT"])
def test_uploads_that_joined_a_run_that_never_began_have_one_of_their_own(
    table: Any, machine: Any, uploads: list[Run], ends: Any, status: str
) -> None:
    ends(gathered(uploads, 3), status)
    (arn,) = machine.started("gathered")
    assert machine.input(arn) == {"dataset": "sotu"}
    assert arrivals.gather(uploads[3], QUIET) == QUIET


def test_an_event_that_comes_twice_starts_one_run_for_them(
    table: Any, machine: Any, uploads: list[Run], ends: Any
) -> None:
    ends(gathered(uploads, 3), "FAILED")
    ends(uploads[0], "FAILED")
    assert len(machine.started("gathered")) == 1


def test_an_upload_that_joins_in_the_moment_its_gatherer_ends_is_not_lost(
    table: Any, machine: Any, uploads: list[Run], ends: Any
) -> None:
    gatherer = gathered(uploads, 1)

    def join() -> None:
        # It has found the gatherer running a moment ago.
        machine.executions[gatherer.execution.id].status = "RUNNING"
        with pytest.raises(NothingToDo):
            arrivals.gather(uploads[1], QUIET)
        machine.executions[gatherer.execution.id].status = "ABORTED"

    table.meanwhile(join)
    ends(gatherer, "ABORTED")
    assert len(machine.started("gathered")) == 1


def test_an_upload_that_joins_after_the_others_run_has_started_has_another(
    table: Any, machine: Any, uploads: list[Run], ends: Any
) -> None:
    gatherer = gathered(uploads, 2)

    def join() -> None:
        machine.executions[gatherer.execution.id].status = "RUNNING"
        with pytest.raises(NothingToDo):
            arrivals.gather(uploads[2], QUIET)
        machine.executions[gatherer.execution.id].status = "FAILED"

    table.meanwhile(join)
    ends(gatherer, "FAILED")
    assert len(machine.started("gathered")) == 2


def test_uploads_are_not_lost_where_their_run_cannot_be_started_now(
    table: Any, stubbed: Any, uploads: list[Run], machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gatherer = gathered(uploads, 2)
    machine.end(gatherer.execution.id, "ABORTED")
    with monkeypatch.context() as broken:
        broken.setattr("coordination.executions.start", lambda *_: throttled())
        with pytest.raises(Throttled):
            hand_over("lexline", gatherer.execution.id)
    hand_over("lexline", gatherer.execution.id)
    assert len(machine.started("gathered")) == 1


def throttled() -> None:
    raise Throttled("StartExecution: Rate exceeded (ThrottlingException)")


@pytest.mark.parametrize(
    ("status", "error", "runs"),
    [
        # Somebody did not want it, or its report has told why it failed.
        ("ABORTED", "", 0),
        ("FAILED", "AccessDenied", 0),
        # It has not said a word.
        ("FAILED", "States.Runtime", 1),
        ("TIMED_OUT", "", 1),
    ],
)
def test_a_gatherers_own_upload_runs_again_where_its_end_was_nobodys_wish_and_was_not_told(
    table: Any, machine: Any, uploads: list[Run], ends: Any, status: str, error: str, runs: int
) -> None:
    ends(gathered(uploads, 1), status, error)
    assert len(machine.started("gathered")) == runs


def test_a_run_that_has_begun_takes_its_uploads_with_it(
    table: Any, machine: Any, uploads: list[Run], ends: Any
) -> None:
    gatherer = gathered(uploads, 3)
    arrivals.close(gatherer)
    ends(gatherer, "ABORTED")
    assert machine.started("gathered") == []


def test_an_upload_that_joined_ends_without_a_trace(
    table: Any, machine: Any, uploads: list[Run], ends: Any
) -> None:
    gatherer = gathered(uploads, 2)
    ends(uploads[1])
    assert arrivals.joined("sotu", gatherer.execution.id) == 2
    assert machine.started("gathered") == []


def test_uploads_that_change_at_every_look_are_an_error_to_try_again(
    table: Any, machine: Any, uploads: list[Run], ends: Any
) -> None:
    gatherer = gathered(uploads, 1)

    def count() -> None:
        table.put("dataset/sotu", **{**table.get("dataset/sotu"), "joined": next(numbers)})

    numbers = iter(range(2, 100))
    table.meanwhile(*[count] * 5)
    with pytest.raises(ServiceUnavailable, match="dataset sotu changed at every look"):
        ends(gatherer, "ABORTED")


@pytest.mark.parametrize("key", ["uploads/sotu.txt", "", "elsewhere", 7])
def test_an_upload_without_a_dataset_leaves_nothing(
    table: Any, machine: Any, new_run: Callable[..., Run], ends: Any, key: Any
) -> None:
    run = new_run("first")
    machine.executions[run.execution.id].input = json.dumps({"upload": {"key": key}})
    assert ends(run, "FAILED", "InvalidInput") is True


def cleanup_run(of: Run, arn: str) -> Run:
    """The run that plan makes of a clean-up's execution."""
    name = names.run_name("lexline", names.CLEANUP, arn)
    return of.model_copy(
        update={"name": name, "work": "cleanup", "execution": of.execution.model_copy(update={"id": arn})}
    )
