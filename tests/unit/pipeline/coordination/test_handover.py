"""handover: what an ended execution leaves is handed over once, even if its event was lost."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.run import Lease, Run
from coordination import arrivals, executions, lease, task_tokens
from coordination.handover import hand_over
from coordination.lease import Held
from core import names
from core.errors import LeaseLost, ServiceUnavailable, Throttled
from tests.unit.pipeline.conftest import Clock, NewRun
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory

QUIET = 60
Asks = Callable[[Run], Lease | None]
Ends = Callable[..., bool]


@pytest.fixture
def ends(machine: ExecutionsInMemory) -> Ends:
    """ends(run, status, error): end the run's execution, and hand over what it leaves."""

    def end(run: Run, status: str = "SUCCEEDED", error: str = "") -> bool:
        machine.end(run.execution.id, status, error)
        return hand_over("lexline", run.execution.id)

    return end


@pytest.fixture
def asks(machine: ExecutionsInMemory) -> Asks:
    """asks(run): let the run ask for the lease with a new token."""
    return lambda run: lease.acquire(run, machine.wait(run.execution.id))


@pytest.fixture
def runs(table: TableInMemory, new_run: NewRun, asks: Asks) -> list[Run]:
    """Three runs: the first owns the lease, the others wait for it in this order."""
    made = [new_run(name) for name in ("first", "second", "third")]
    for run in made:
        asks(run)
    return made


@pytest.fixture
def pair(table: TableInMemory, new_run: NewRun, asks: Asks) -> tuple[Run, Run]:
    """Two runs: the first owns the lease, the second has not asked for it yet."""
    first, second = new_run("first"), new_run("second")
    asks(first)
    return first, second


@pytest.fixture
def uploads(table: TableInMemory, new_run: NewRun) -> list[Run]:
    """The runs of four uploads of one dataset."""
    uploaded = {"bucket": "texts", "etag": "9b2cf535", "size": 120}
    return [
        new_run(f"upload-{number}", upload={**uploaded, "key": f"uploads/sotu/{number}.txt"})
        for number in range(4)
    ]


def gathered(uploads: list[Run], count: int) -> Run:
    """Let the first upload gather `count` uploads, itself included, and return its run."""
    for run in uploads[:count]:
        arrivals.gather(run, QUIET)
    return uploads[0]


def held() -> Held:
    return lease.read("lexline")


def woken(machine: ExecutionsInMemory, run: Run) -> bool:
    return machine.heard(run.execution.id) == task_tokens.YOUR_TURN


def cleanup_run(of: Run, arn: str) -> Run:
    """Return the run that Plan makes of a cleanup's execution."""
    name = names.run_name("lexline", names.CLEANUP, arn)
    execution = of.execution.model_copy(update={"id": arn})
    return of.model_copy(update={"name": name, "work": "cleanup", "execution": execution})


# --- the lease


def test_a_running_execution_keeps_its_lease(pair: tuple[Run, Run]) -> None:
    before = held()
    assert hand_over("lexline", pair[0].execution.id) is False
    assert held() == before


@pytest.mark.parametrize(("status", "error"), [("SUCCEEDED", ""), ("FAILED", "TrainingFailed")])
def test_the_lease_is_free_if_no_run_waits(
    machine: ExecutionsInMemory, pair: tuple[Run, Run], ends: Ends, status: str, error: str
) -> None:
    assert ends(pair[0], status, error) is True
    assert held() == Held("lexline", generation=1)
    assert machine.started("cleanup") == []


def test_the_first_run_in_the_queue_gets_the_lease_and_is_woken(
    machine: ExecutionsInMemory, runs: list[Run], asks: Asks, ends: Ends
) -> None:
    first, second, third = runs
    ends(first)
    assert (woken(machine, second), woken(machine, third)) == (True, False)
    assert asks(second) == Lease(owner=second.name, generation=2)
    ends(second)
    assert woken(machine, third)
    assert asks(third) == Lease(owner=third.name, generation=3)


def test_a_second_event_about_the_same_end_changes_nothing(runs: list[Run], ends: Ends) -> None:
    ends(runs[0])
    after = held()
    assert hand_over("lexline", runs[0].execution.id) is True
    assert held() == after


def test_two_simultaneous_calls_pass_the_lease_on_once(
    table: TableInMemory, machine: ExecutionsInMemory, runs: list[Run], ends: Ends
) -> None:
    first, second, third = runs
    table.meanwhile(lambda: hand_over("lexline", first.execution.id))
    ends(first)
    assert (held().owner, held().generation) == (second.name, 2)
    assert (woken(machine, second), woken(machine, third)) == (True, False)


@pytest.mark.parametrize("queued_before", [False, True])
def test_a_run_that_queues_while_the_owner_ends_is_woken_by_its_newest_token(
    table: TableInMemory,
    machine: ExecutionsInMemory,
    pair: tuple[Run, Run],
    asks: Asks,
    ends: Ends,
    queued_before: bool,
) -> None:
    first, second = pair
    if queued_before:
        asks(second)
    table.meanwhile(lambda: asks(second))
    ends(first)
    assert woken(machine, second)
    assert asks(second) == Lease(owner=second.name, generation=2)


def test_a_waiting_run_that_ends_leaves_the_queue(
    machine: ExecutionsInMemory, runs: list[Run], ends: Ends
) -> None:
    first, second, third = runs
    ends(second, "ABORTED")
    assert [waiter.run for waiter in held().waiting] == [third.name]
    ends(first)
    assert woken(machine, third)
    assert machine.started("cleanup") == []


def test_the_lease_skips_waiting_runs_whose_end_was_not_noticed(
    machine: ExecutionsInMemory, runs: list[Run], new_run: NewRun, asks: Asks, ends: Ends
) -> None:
    last = new_run("fourth")
    asks(last)
    for ended in runs[1:]:
        machine.end(ended.execution.id, "FAILED", "AccessDenied")
    ends(runs[0])
    assert woken(machine, last)
    assert (held().owner, held().waiting) == (last.name, [])


def test_a_run_that_ends_while_it_gets_the_lease_passes_it_on(
    table: TableInMemory, machine: ExecutionsInMemory, runs: list[Run], ends: Ends
) -> None:
    first, second, third = runs
    machine.end(first.execution.id, "SUCCEEDED")
    # The first write for the second run takes it out of the queue. By then it has the lease.
    table.meanwhile(lambda: hand_over("lexline", first.execution.id))
    ends(second, "FAILED", "AccessDenied")
    assert held().owner == third.name
    assert woken(machine, third)


def test_a_run_between_two_waits_keeps_the_lease_that_it_was_given(
    machine: ExecutionsInMemory, runs: list[Run], asks: Asks, ends: Ends
) -> None:
    first, second, _ = runs
    machine.executions[second.execution.id].token = ""
    ends(first)
    assert not woken(machine, second)
    assert asks(second) == Lease(owner=second.name, generation=2)


def test_hand_over_is_retried_if_the_lease_changes_during_every_attempt(
    table: TableInMemory, pair: tuple[Run, Run], asks: Asks, ends: Ends
) -> None:
    run = pair[0]
    mine = asks(run)
    assert mine
    table.meanwhile(*[lambda: lease.renew(run, mine)] * 5)
    with pytest.raises(ServiceUnavailable, match="changed during every attempt"):
        ends(run)
    assert hand_over("lexline", run.execution.id) is True
    assert held().owner is None


# --- cleanup after an owner that could not clean up itself


@pytest.mark.parametrize(
    ("status", "error"), [("ABORTED", ""), ("TIMED_OUT", ""), ("FAILED", "States.DataLimitExceeded")]
)
@pytest.mark.parametrize("policy", [{}, {"teardown": "never"}, {"teardown": {"after": "PT8H"}}])
def test_a_cleanup_gets_the_lease_before_any_waiting_run(
    machine: ExecutionsInMemory,
    pair: tuple[Run, Run],
    asks: Asks,
    ends: Ends,
    status: str,
    error: str,
    policy: dict[str, Any],
) -> None:
    """The run's own teardown policy goes along; otherwise the deployment's default would count."""
    first, second = pair
    stale = asks(first)
    assert stale
    asks(second)
    machine.executions[first.execution.id].input = json.dumps({"dataset": "sotu", **policy})
    ends(first, status, error)
    (cleanup,) = machine.started("cleanup")
    subject = {"run": first.name, "execution": first.execution.id, "status": status}
    assert machine.input(cleanup) == {"cleanup_of": subject, **policy}
    # Plan gives this name to the execution's run.
    assert held().owner == names.run_name("lexline", "cleanup", cleanup)
    assert held().execution == cleanup
    assert not woken(machine, second)
    with pytest.raises(LeaseLost):
        lease.renew(first, stale)


def test_the_queue_goes_on_after_the_cleanup(
    machine: ExecutionsInMemory, runs: list[Run], asks: Asks, ends: Ends
) -> None:
    ends(runs[0], "ABORTED")
    (arn,) = machine.started("cleanup")
    cleanup = cleanup_run(runs[0], arn)
    assert asks(cleanup) == Lease(owner=cleanup.name, generation=2)
    ends(cleanup)
    assert woken(machine, runs[1])
    assert machine.started("cleanup") == [arn]


def test_a_cleanup_that_queued_before_it_got_the_lease_is_woken(
    table: TableInMemory, machine: ExecutionsInMemory, pair: tuple[Run, Run], asks: Asks, ends: Ends
) -> None:
    first = pair[0]
    table.meanwhile(lambda: asks(cleanup_run(first, machine.started("cleanup")[0])))
    ends(first, "ABORTED")
    (arn,) = machine.started("cleanup")
    assert (held().execution, held().waiting) == (arn, [])
    assert machine.heard(arn) == task_tokens.YOUR_TURN


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_an_aborted_cleanup_is_followed_by_another_for_the_same_run(
    machine: ExecutionsInMemory, pair: tuple[Run, Run], ends: Ends, status: str
) -> None:
    ends(pair[0], "ABORTED")
    (arn,) = machine.started("cleanup")
    ends(cleanup_run(pair[0], arn), status)
    _, again = machine.started("cleanup")
    assert machine.input(again)["cleanup_of"]["run"] == pair[0].name
    assert held().execution == again


@pytest.mark.parametrize("error", ["States.Runtime", "AccessDenied"])
def test_a_failed_cleanup_is_not_repeated(
    machine: ExecutionsInMemory, runs: list[Run], ends: Ends, error: str
) -> None:
    """Another cleanup would fail too."""
    ends(runs[0], "ABORTED")
    (arn,) = machine.started("cleanup")
    ends(cleanup_run(runs[0], arn), "FAILED", error)
    assert len(machine.started("cleanup")) == 1
    assert woken(machine, runs[1])


def test_a_cleanup_that_fails_before_it_has_the_lease_does_not_keep_it(
    table: TableInMemory, machine: ExecutionsInMemory, runs: list[Run], ends: Ends
) -> None:
    def cleanup_fails() -> None:
        (arn,) = machine.started("cleanup")
        machine.end(arn, "FAILED", "AccessDenied")
        hand_over("lexline", arn)

    table.meanwhile(cleanup_fails)
    ends(runs[0], "ABORTED")
    assert held().owner == runs[1].name
    assert woken(machine, runs[1])


def test_an_aborted_teardown_needs_no_cleanup(
    machine: ExecutionsInMemory, pair: tuple[Run, Run], ends: Ends
) -> None:
    machine.executions[pair[0].execution.id].input = json.dumps({"teardown_of": {"run": "lexline--sotu-1"}})
    ends(pair[0], "ABORTED")
    assert held().owner is None
    assert machine.started("cleanup") == []


def test_an_owner_that_step_functions_has_deleted_is_cleaned_up_after(
    machine: ExecutionsInMemory, pair: tuple[Run, Run], clock: Clock
) -> None:
    arn = pair[0].execution.id
    del machine.executions[arn]
    clock(90 * 24 * 3600)
    assert hand_over("lexline", arn) is True
    (cleanup,) = machine.started("cleanup")
    subject = {"run": pair[0].name, "execution": arn, "status": "forgotten"}
    assert machine.input(cleanup)["cleanup_of"] == subject


def test_an_owner_that_step_functions_does_not_know_yet_keeps_its_lease(
    machine: ExecutionsInMemory, pair: tuple[Run, Run]
) -> None:
    del machine.executions[pair[0].execution.id]
    before = held()
    assert hand_over("lexline", pair[0].execution.id) is False
    assert held() == before
    assert machine.started("cleanup") == []


# --- the gathered uploads


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT"])
def test_gathered_uploads_get_one_run_if_their_gatherer_never_began(
    machine: ExecutionsInMemory, uploads: list[Run], ends: Ends, status: str
) -> None:
    gatherer = gathered(uploads, 3)
    for _ in range(2):
        ends(gatherer, status)
    (arn,) = machine.started("gathered")
    assert machine.input(arn) == {"dataset": "sotu"}
    assert arrivals.gather(uploads[3], QUIET).seconds == QUIET


@pytest.mark.parametrize(("count", "started"), [(1, 1), (2, 2)])
def test_an_upload_that_joins_while_its_gatherer_ends_is_not_lost(
    table: TableInMemory,
    machine: ExecutionsInMemory,
    uploads: list[Run],
    ends: Ends,
    count: int,
    started: int,
) -> None:
    """A run that was started for the other uploads may have listed the objects already: start another."""
    gatherer = gathered(uploads, count)
    execution = machine.executions[gatherer.execution.id]

    def join() -> None:
        # This upload read the gatherer's status a moment before the gatherer ended.
        execution.status = "RUNNING"
        assert arrivals.gather(uploads[count], QUIET).joined == gatherer.name
        execution.status = "ABORTED"

    table.meanwhile(join)
    ends(gatherer, "ABORTED")
    assert len(machine.started("gathered")) == started


def test_gathered_uploads_are_not_lost_if_their_run_cannot_be_started_now(
    machine: ExecutionsInMemory, uploads: list[Run], ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(*_: object) -> None:
        raise Throttled("StartExecution: Rate exceeded (ThrottlingException)")

    gatherer = gathered(uploads, 2)
    with monkeypatch.context() as broken:
        broken.setattr(executions, "start", throttled)
        with pytest.raises(Throttled):
            ends(gatherer, "ABORTED")
    hand_over("lexline", gatherer.execution.id)
    assert len(machine.started("gathered")) == 1


@pytest.mark.parametrize(
    ("status", "error", "started"),
    [
        # A person does not want this run, or its report has said why it failed.
        ("ABORTED", "", 0),
        ("FAILED", "AccessDenied", 0),
        # The execution ended without a report.
        ("FAILED", "States.Runtime", 1),
        ("TIMED_OUT", "", 1),
    ],
)
def test_a_gatherers_own_upload_gets_another_run_if_its_end_was_not_reported(
    machine: ExecutionsInMemory, uploads: list[Run], ends: Ends, status: str, error: str, started: int
) -> None:
    ends(gathered(uploads, 1), status, error)
    assert len(machine.started("gathered")) == started


def test_a_run_that_has_begun_keeps_its_uploads(
    machine: ExecutionsInMemory, uploads: list[Run], ends: Ends
) -> None:
    gatherer = gathered(uploads, 3)
    arrivals.close(gatherer)
    ends(gatherer, "ABORTED")
    assert machine.started("gathered") == []


def test_the_end_of_an_upload_that_joined_changes_nothing(
    machine: ExecutionsInMemory, uploads: list[Run], ends: Ends
) -> None:
    gatherer = gathered(uploads, 2)
    ends(uploads[1])
    assert arrivals.joined("sotu", gatherer.execution.id) == 2
    assert machine.started("gathered") == []


def test_hand_over_is_retried_if_the_uploads_change_during_every_attempt(
    table: TableInMemory, uploads: list[Run], ends: Ends
) -> None:
    numbers = iter(range(2, 100))

    def count() -> None:
        table.put("dataset/sotu", **{**table.get("dataset/sotu"), "joined": next(numbers)})

    gatherer = gathered(uploads, 1)
    table.meanwhile(*[count] * 5)
    with pytest.raises(ServiceUnavailable, match="dataset sotu changed during every attempt"):
        ends(gatherer, "ABORTED")


@pytest.mark.parametrize("key", ["uploads/sotu.txt", "", "elsewhere", 7])
def test_an_invalid_upload_leaves_nothing(
    table: TableInMemory, machine: ExecutionsInMemory, new_run: NewRun, ends: Ends, key: Any
) -> None:
    run = new_run("first")
    machine.executions[run.execution.id].input = json.dumps({"upload": {"key": key}})
    assert ends(run, "FAILED", "InvalidInput") is True
