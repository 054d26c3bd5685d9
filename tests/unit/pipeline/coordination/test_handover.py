"""handover: what an ended execution leaves is handed over once, even if its event was lost."""

import functools
import json
from typing import Any

import pytest

from contracts.run import Lease, Run
from coordination import arrivals, executions, lease, task_tokens
from coordination.handover import hand_over
from coordination.lease import Held
from core import names
from core.errors import LeaseLost, ServiceUnavailable, Throttled
from tests.unit.pipeline.conftest import Clock, NewRun
from tests.unit.pipeline.documents import ENVIRONMENT
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory

QUIET = int(ENVIRONMENT["QUIET_SECONDS"])


class Pipeline:
    """Executions and their runs, with the table."""

    def __init__(self, table: TableInMemory, machine: ExecutionsInMemory, new_run: NewRun) -> None:
        self.table, self.machine, self.new_run = table, machine, new_run

    @functools.cached_property
    def pair(self) -> tuple[Run, Run]:
        """Two runs: the first owns the lease, the second has not asked for it yet."""
        first, second = self.new_run("first"), self.new_run("second")
        self.asks(first)
        return first, second

    @functools.cached_property
    def runs(self) -> list[Run]:
        """Three runs: the first owns the lease, the others wait for it in this order."""
        made = [*self.pair, self.new_run("third")]
        for run in made:
            self.asks(run)
        return made

    @functools.cached_property
    def uploads(self) -> list[Run]:
        """The runs of four uploads of one dataset."""
        uploaded = {"bucket": "texts", "etag": "9b2cf535", "size": 120}
        keys = [f"uploads/sotu/{number}.txt" for number in range(4)]
        return [self.new_run(key.replace("/", "-"), upload={**uploaded, "key": key}) for key in keys]

    def gathered(self, count: int) -> Run:
        """Let the first upload gather `count` uploads, itself included, and return its run."""
        for run in self.uploads[:count]:
            arrivals.gather(run)
        return self.uploads[0]

    def asks(self, run: Run) -> Lease | None:
        """Let the run ask for the lease with a new token."""
        return lease.acquire(run, self.machine.wait(run.execution.id))

    def ends(self, run: Run, status: str = "SUCCEEDED", error: str = "") -> bool:
        """End the run's execution, and hand over what it leaves."""
        self.machine.end(run.execution.id, status, error)
        return hand_over("lexline", run.execution.id)

    def woken(self, run: Run) -> bool:
        return self.machine.heard(run.execution.id) == task_tokens.YOUR_TURN


@pytest.fixture
def pipeline(table: TableInMemory, machine: ExecutionsInMemory, new_run: NewRun) -> Pipeline:
    return Pipeline(table, machine, new_run)


def held() -> Held:
    return lease.read("lexline")


def cleanup_run(of: Run, arn: str) -> Run:
    """Return the run that Plan makes of a cleanup's execution."""
    name = names.run_name("lexline", names.CLEANUP, arn)
    execution = of.execution.model_copy(update={"id": arn})
    return of.model_copy(update={"name": name, "work": "cleanup", "execution": execution})


# --- the lease


def test_a_running_execution_keeps_its_lease(pipeline: Pipeline) -> None:
    run, _ = pipeline.pair
    before = held()
    assert hand_over("lexline", run.execution.id) is False
    assert held() == before


@pytest.mark.parametrize(("status", "error"), [("SUCCEEDED", ""), ("FAILED", "TrainingFailed")])
def test_the_lease_is_free_if_no_run_waits(pipeline: Pipeline, status: str, error: str) -> None:
    assert pipeline.ends(pipeline.pair[0], status, error) is True
    assert held() == Held("lexline", generation=1)
    assert pipeline.machine.started("cleanup") == []


def test_the_first_run_in_the_queue_gets_the_lease_and_is_woken(pipeline: Pipeline) -> None:
    first, second, third = pipeline.runs
    pipeline.ends(first)
    assert (pipeline.woken(second), pipeline.woken(third)) == (True, False)
    assert pipeline.asks(second) == Lease(owner=second.name, generation=2)
    pipeline.ends(second)
    assert pipeline.woken(third)
    assert pipeline.asks(third) == Lease(owner=third.name, generation=3)


def test_two_simultaneous_calls_pass_the_lease_on_once(pipeline: Pipeline) -> None:
    first, second, third = pipeline.runs
    pipeline.table.meanwhile(lambda: hand_over("lexline", first.execution.id))
    pipeline.ends(first)
    assert (held().owner, held().generation) == (second.name, 2)
    assert (pipeline.woken(second), pipeline.woken(third)) == (True, False)


@pytest.mark.parametrize("queued_before", [False, True])
def test_a_run_that_queues_while_the_owner_ends_is_woken_by_its_newest_token(
    pipeline: Pipeline, queued_before: bool
) -> None:
    first, second = pipeline.pair
    if queued_before:
        pipeline.asks(second)
    pipeline.table.meanwhile(lambda: pipeline.asks(second))
    pipeline.ends(first)
    assert pipeline.woken(second)
    assert pipeline.asks(second) == Lease(owner=second.name, generation=2)


def test_a_waiting_run_that_ends_leaves_the_queue(pipeline: Pipeline) -> None:
    first, second, third = pipeline.runs
    pipeline.ends(second, "ABORTED")
    assert [waiter.run for waiter in held().waiting] == [third.name]
    pipeline.ends(first)
    assert pipeline.woken(third)
    assert pipeline.machine.started("cleanup") == []


def test_the_lease_skips_waiting_runs_whose_end_was_not_noticed(pipeline: Pipeline) -> None:
    first, *others = pipeline.runs
    last = pipeline.new_run("fourth")
    pipeline.asks(last)
    for ended in others:
        pipeline.machine.end(ended.execution.id, "FAILED", "AccessDenied")
    pipeline.ends(first)
    assert pipeline.woken(last)
    assert (held().owner, held().waiting) == (last.name, [])


def test_a_run_that_ends_while_it_gets_the_lease_passes_it_on(pipeline: Pipeline) -> None:
    first, second, third = pipeline.runs
    pipeline.machine.end(first.execution.id, "SUCCEEDED")
    # The first write for the second run takes it out of the queue. By then it has the lease.
    pipeline.table.meanwhile(lambda: hand_over("lexline", first.execution.id))
    pipeline.ends(second, "FAILED", "AccessDenied")
    assert held().owner == third.name
    assert pipeline.woken(third)


def test_a_run_between_two_waits_keeps_the_lease_that_it_was_given(pipeline: Pipeline) -> None:
    first, second, _ = pipeline.runs
    pipeline.machine.executions[second.execution.id].token = ""
    pipeline.ends(first)
    assert not pipeline.woken(second)
    assert pipeline.asks(second) == Lease(owner=second.name, generation=2)


def test_hand_over_is_retried_if_the_lease_changes_during_every_attempt(pipeline: Pipeline) -> None:
    run = pipeline.pair[0]
    mine = pipeline.asks(run)
    assert mine
    pipeline.table.meanwhile(*[lambda: lease.renew(run, mine)] * 5)
    with pytest.raises(ServiceUnavailable, match="changed during every attempt"):
        pipeline.ends(run)
    assert hand_over("lexline", run.execution.id) is True
    assert held().owner is None


# --- cleanup after an owner that could not clean up itself


@pytest.mark.parametrize(
    ("status", "error"), [("ABORTED", ""), ("TIMED_OUT", ""), ("FAILED", "States.DataLimitExceeded")]
)
@pytest.mark.parametrize("policy", [{}, {"teardown": "never"}, {"teardown": {"after": "PT8H"}}])
def test_a_cleanup_gets_the_lease_before_any_waiting_run(
    pipeline: Pipeline, status: str, error: str, policy: dict[str, Any]
) -> None:
    """The run's own teardown policy goes along; otherwise the deployment's default would count."""
    first, second = pipeline.pair
    stale = pipeline.asks(first)
    assert stale
    pipeline.asks(second)
    pipeline.machine.executions[first.execution.id].input = json.dumps({"dataset": "sotu", **policy})
    pipeline.ends(first, status, error)
    (cleanup,) = pipeline.machine.started("cleanup")
    subject = {"run": first.name, "dataset": "sotu", "execution": first.execution.id, "status": status}
    assert pipeline.machine.input(cleanup) == {"cleanup_of": subject, **policy}
    # Plan gives this name to the execution's run.
    assert held().owner == names.run_name("lexline", "cleanup", cleanup)
    assert held().execution == cleanup
    assert not pipeline.woken(second)
    with pytest.raises(LeaseLost):
        lease.renew(first, stale)


def test_the_queue_goes_on_after_the_cleanup(pipeline: Pipeline) -> None:
    pipeline.ends(pipeline.runs[0], "ABORTED")
    (arn,) = pipeline.machine.started("cleanup")
    cleanup = cleanup_run(pipeline.runs[0], arn)
    assert pipeline.asks(cleanup) == Lease(owner=cleanup.name, generation=2)
    pipeline.ends(cleanup)
    assert pipeline.woken(pipeline.runs[1])
    assert pipeline.machine.started("cleanup") == [arn]


def test_a_cleanup_that_queued_before_it_got_the_lease_is_woken(pipeline: Pipeline) -> None:
    first = pipeline.pair[0]
    pipeline.table.meanwhile(
        lambda: pipeline.asks(cleanup_run(first, pipeline.machine.started("cleanup")[0]))
    )
    pipeline.ends(first, "ABORTED")
    (arn,) = pipeline.machine.started("cleanup")
    assert (held().execution, held().waiting) == (arn, [])
    assert pipeline.machine.heard(arn) == task_tokens.YOUR_TURN


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_an_aborted_cleanup_is_followed_by_another_for_the_same_run(pipeline: Pipeline, status: str) -> None:
    pipeline.ends(pipeline.pair[0], "ABORTED")
    (arn,) = pipeline.machine.started("cleanup")
    pipeline.ends(cleanup_run(pipeline.pair[0], arn), status)
    _, again = pipeline.machine.started("cleanup")
    of = pipeline.machine.input(again)["cleanup_of"]
    assert (of["run"], of["dataset"]) == (pipeline.pair[0].name, "sotu")
    assert held().execution == again


@pytest.mark.parametrize("error", ["States.Runtime", "AccessDenied"])
def test_a_failed_cleanup_is_not_repeated(pipeline: Pipeline, error: str) -> None:
    """Another cleanup would fail too."""
    pipeline.ends(pipeline.runs[0], "ABORTED")
    (arn,) = pipeline.machine.started("cleanup")
    pipeline.ends(cleanup_run(pipeline.runs[0], arn), "FAILED", error)
    assert len(pipeline.machine.started("cleanup")) == 1
    assert pipeline.woken(pipeline.runs[1])


def test_a_cleanup_that_fails_before_it_has_the_lease_does_not_keep_it(pipeline: Pipeline) -> None:
    def cleanup_fails() -> None:
        (arn,) = pipeline.machine.started("cleanup")
        pipeline.machine.end(arn, "FAILED", "AccessDenied")
        hand_over("lexline", arn)

    first, second, _ = pipeline.runs
    pipeline.table.meanwhile(cleanup_fails)
    pipeline.ends(first, "ABORTED")
    assert held().owner == second.name
    assert pipeline.woken(second)


def test_an_aborted_teardown_needs_no_cleanup(pipeline: Pipeline) -> None:
    pipeline.machine.executions[pipeline.pair[0].execution.id].input = json.dumps(
        {"teardown_of": {"run": "lexline--sotu-1"}}
    )
    pipeline.ends(pipeline.pair[0], "ABORTED")
    assert held().owner is None
    assert pipeline.machine.started("cleanup") == []


def test_an_owner_that_step_functions_has_deleted_is_cleaned_up_after(
    pipeline: Pipeline, clock: Clock
) -> None:
    arn = pipeline.pair[0].execution.id
    del pipeline.machine.executions[arn]
    clock(90 * 24 * 3600)
    assert hand_over("lexline", arn) is True
    (cleanup,) = pipeline.machine.started("cleanup")
    subject = {"run": pipeline.pair[0].name, "execution": arn, "status": "forgotten"}
    assert pipeline.machine.input(cleanup)["cleanup_of"] == subject


def test_an_owner_that_step_functions_does_not_know_yet_keeps_its_lease(pipeline: Pipeline) -> None:
    del pipeline.machine.executions[pipeline.pair[0].execution.id]
    run, _ = pipeline.pair
    before = held()
    assert hand_over("lexline", run.execution.id) is False
    assert held() == before
    assert pipeline.machine.started("cleanup") == []


# --- the gathered uploads


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT"])
def test_gathered_uploads_get_one_run_if_their_gatherer_never_began(pipeline: Pipeline, status: str) -> None:
    gatherer = pipeline.gathered(3)
    for _ in range(2):
        pipeline.ends(gatherer, status)
    (arn,) = pipeline.machine.started("gathered")
    assert pipeline.machine.input(arn) == {"dataset": "sotu"}
    assert arrivals.gather(pipeline.uploads[3]).seconds == QUIET


@pytest.mark.parametrize(("count", "started"), [(1, 1), (2, 2)])
def test_an_upload_that_joins_while_its_gatherer_ends_is_not_lost(
    pipeline: Pipeline, count: int, started: int
) -> None:
    """A run that was started for the other uploads may have listed the objects already: start another."""
    gatherer = pipeline.gathered(count)
    execution = pipeline.machine.executions[gatherer.execution.id]

    def join() -> None:
        # This upload read the gatherer's status a moment before the gatherer ended.
        execution.status = "RUNNING"
        assert arrivals.gather(pipeline.uploads[count]).joined == gatherer.name
        execution.status = "ABORTED"

    pipeline.table.meanwhile(join)
    pipeline.ends(gatherer, "ABORTED")
    assert len(pipeline.machine.started("gathered")) == started


def test_gathered_uploads_are_not_lost_if_their_run_cannot_be_started_now(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(*_: object) -> None:
        raise Throttled("StartExecution: Rate exceeded (ThrottlingException)")

    gatherer = pipeline.gathered(2)
    with monkeypatch.context() as broken:
        broken.setattr(executions, "start", throttled)
        with pytest.raises(Throttled):
            pipeline.ends(gatherer, "ABORTED")
    hand_over("lexline", gatherer.execution.id)
    assert len(pipeline.machine.started("gathered")) == 1


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
    pipeline: Pipeline, status: str, error: str, started: int
) -> None:
    pipeline.ends(pipeline.gathered(1), status, error)
    assert len(pipeline.machine.started("gathered")) == started


def test_a_run_that_has_begun_keeps_its_uploads(pipeline: Pipeline) -> None:
    gatherer = pipeline.gathered(3)
    arrivals.close(gatherer)
    pipeline.ends(gatherer, "ABORTED")
    assert pipeline.machine.started("gathered") == []


def test_the_end_of_an_upload_that_joined_changes_nothing(pipeline: Pipeline) -> None:
    gatherer = pipeline.gathered(2)
    pipeline.ends(pipeline.uploads[1])
    assert arrivals.joined("sotu", gatherer.execution.id) == 2
    assert pipeline.machine.started("gathered") == []


def test_hand_over_is_retried_if_the_uploads_change_during_every_attempt(pipeline: Pipeline) -> None:
    numbers = iter(range(2, 100))

    def count() -> None:
        pipeline.table.put("dataset/sotu", **{**pipeline.table.get("dataset/sotu"), "joined": next(numbers)})

    gatherer = pipeline.gathered(1)
    pipeline.table.meanwhile(*[count] * 5)
    with pytest.raises(ServiceUnavailable, match="dataset sotu changed during every attempt"):
        pipeline.ends(gatherer, "ABORTED")


@pytest.mark.parametrize("key", ["uploads/sotu.txt", "", "elsewhere", 7])
def test_an_invalid_upload_leaves_nothing(pipeline: Pipeline, key: Any) -> None:
    run = pipeline.new_run("first")
    pipeline.machine.executions[run.execution.id].input = json.dumps({"upload": {"key": key}})
    assert pipeline.ends(run, "FAILED", "InvalidInput") is True
