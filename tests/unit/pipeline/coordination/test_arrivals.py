"""arrivals: uploads that come together share one run, and no upload is left without a run."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from contracts.run import Run
from coordination import arrivals
from core.errors import ServiceUnavailable
from tests.unit.pipeline.conftest import Clock, NewRun
from tests.unit.pipeline.documents import ENVIRONMENT
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from uploads.listing import UploadedObject

ITEM = "dataset/sotu"
QUIET = int(ENVIRONMENT["QUIET_SECONDS"])
Uploads = Callable[[str], Run]


@pytest.fixture
def new_upload(table: TableInMemory, new_run: NewRun) -> Uploads:
    """new_upload(file): the run of the execution that the file's upload starts."""

    def made(file: str) -> Run:
        upload = {"bucket": "texts", "key": f"uploads/sotu/{file}", "etag": "9b2cf535", "size": 120}
        return new_run(file, upload=upload)

    return made


def waits(run: Run) -> int:
    """Return how many seconds the run has to wait; it must not join another."""
    gathered = arrivals.gather(run)
    assert gathered.joined is None
    return gathered.seconds


def joins(run: Run) -> str | None:
    """Return the run that this upload joins."""
    gathered = arrivals.gather(run)
    assert gathered.seconds == 0
    return gathered.joined


def uploaded(file: str, age: timedelta = timedelta(), etag: str = "9b2cf535") -> UploadedObject:
    return UploadedObject(f"uploads/sotu/{file}", etag, 120, datetime.now(UTC) - age)


# --- gathering


def test_the_first_upload_waits_for_one_quiet_period(new_upload: Uploads, clock: Clock) -> None:
    first = new_upload("1.txt")
    assert waits(first) == QUIET
    clock(20)
    assert 0 < waits(first) <= QUIET - 19
    clock(QUIET)
    assert waits(first) == 0


def test_later_uploads_join_the_first_and_restart_its_quiet_period(
    table: TableInMemory, new_upload: Uploads, clock: Clock
) -> None:
    first = new_upload("1.txt")
    waits(first)
    for number in range(2, 5):
        clock(QUIET - 5)
        assert joins(new_upload(f"{number}.txt")) == first.name
    clock(QUIET / 2)
    assert waits(first) > 0
    assert table.get(ITEM)["joined"] == 4


def test_a_run_begins_after_twenty_quiet_periods_even_if_uploads_keep_coming(
    new_upload: Uploads, clock: Clock
) -> None:
    first = new_upload("1.txt")
    waits(first)
    seconds = []
    for number in range(2, 60):
        clock(QUIET / 2)
        joins(new_upload(f"{number}.txt"))
        seconds.append(waits(first))
    assert seconds.index(0) == pytest.approx(38, abs=1)
    assert max(seconds) <= QUIET


def test_an_upload_after_the_run_began_gathers_itself(new_upload: Uploads) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    waits(first)
    arrivals.close(first)
    assert waits(second) == QUIET
    arrivals.close(first)
    assert joins(new_upload("3.txt")) == second.name


def test_uploads_join_a_gatherer_that_waits_for_the_lease(new_upload: Uploads, clock: Clock) -> None:
    first = new_upload("1.txt")
    waits(first)
    clock(QUIET + 1)
    assert waits(first) == 0
    clock(3600)
    assert joins(new_upload("2.txt")) == first.name


# --- another execution writes between this one's read and its write


def test_an_upload_that_comes_while_the_run_begins_gathers_itself(
    table: TableInMemory, new_upload: Uploads
) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    waits(first)
    table.meanwhile(lambda: arrivals.close(first))
    assert waits(second) == QUIET
    assert joins(new_upload("3.txt")) == second.name


def test_one_of_two_simultaneous_first_uploads_joins_the_other(
    table: TableInMemory, new_upload: Uploads
) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    table.meanwhile(lambda: arrivals.gather(second))
    assert joins(first) == second.name


def test_an_upload_is_retried_if_the_gatherer_changes_during_every_attempt(
    table: TableInMemory, new_upload: Uploads
) -> None:
    others = [new_upload(f"{number}.txt") for number in range(6)]
    waits(others[0])

    def replace(number: int) -> None:
        arrivals.close(others[number])
        arrivals.gather(others[number + 1])

    table.meanwhile(*[lambda number=number: replace(number) for number in range(5)])
    with pytest.raises(ServiceUnavailable, match="dataset sotu changed during every attempt"):
        arrivals.gather(new_upload("9.txt"))


# --- a gatherer that ends before its run begins


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT", "SUCCEEDED"])
def test_the_next_upload_takes_over_all_uploads_of_an_ended_gatherer(
    machine: ExecutionsInMemory, new_upload: Uploads, status: str
) -> None:
    ended, joined, successor = (new_upload(file) for file in ("1.txt", "2.txt", "3.txt"))
    waits(ended)
    joins(joined)
    machine.end(ended.execution.id, status)
    assert waits(successor) == QUIET
    assert arrivals.joined("sotu", successor.execution.id) == 3
    # The event about the gatherer's end comes late, and must not clear the successor.
    assert arrivals.joined("sotu", ended.execution.id) == 0
    assert arrivals.leave("sotu", ended.execution.id, 2, None)
    assert waits(successor) > 0
    assert joins(new_upload("4.txt")) == successor.name


def test_a_gatherer_that_seemed_to_have_ended_joins_its_successor(
    machine: ExecutionsInMemory, new_upload: Uploads
) -> None:
    """DescribeExecution is eventually consistent: it may not find an execution that has just begun."""
    first, successor = new_upload("1.txt"), new_upload("2.txt")
    waits(first)
    unknown = machine.executions.pop(first.execution.id)
    waits(successor)
    machine.executions[first.execution.id] = unknown
    assert joins(first) == successor.name


def test_a_function_that_outlives_its_aborted_execution_leaves_no_gatherer(
    table: TableInMemory, machine: ExecutionsInMemory, new_upload: Uploads
) -> None:
    aborted = new_upload("1.txt")
    machine.end(aborted.execution.id, "ABORTED")
    arrivals.gather(aborted)
    assert arrivals.gatherer("sotu") is None


def test_leave_keeps_the_gatherer_if_more_uploads_joined_since_they_were_counted(
    table: TableInMemory, new_upload: Uploads
) -> None:
    gatherer = new_upload("1.txt")
    waits(gatherer)
    table.meanwhile(lambda: joins(new_upload("2.txt")))
    assert not arrivals.leave("sotu", gatherer.execution.id, 1, None)
    assert arrivals.joined("sotu", gatherer.execution.id) == 2
    assert arrivals.leave("sotu", gatherer.execution.id, 2, None)
    assert table.get(ITEM) == {}


def test_leave_changes_nothing_for_an_execution_that_is_not_the_gatherer(new_upload: Uploads) -> None:
    gatherer, other = new_upload("1.txt"), new_upload("2.txt")
    waits(gatherer)
    joins(other)
    assert arrivals.joined("sotu", other.execution.id) == 0
    assert arrivals.leave("sotu", other.execution.id, 0, None)
    assert arrivals.joined("sotu", gatherer.execution.id) == 2


# --- uploads whose event comes twice


def test_a_run_is_not_the_first_to_read_uploads_that_the_last_run_read(new_upload: Uploads) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    one, two = uploaded("1.txt"), uploaded("2.txt")
    assert arrivals.first_to_read(first, [one])
    # The step may be retried.
    assert arrivals.first_to_read(first, [one])
    assert not arrivals.first_to_read(second, [one])
    assert arrivals.first_to_read(second, [two])
    assert arrivals.first_to_read(first, [one])
    assert arrivals.first_to_read(first, [one, two])
    # The same text, uploaded again.
    assert arrivals.first_to_read(second, [one, uploaded("2.txt", age=timedelta(hours=-1))])


def test_of_a_million_objects_the_table_keeps_one_hash(table: TableInMemory, new_upload: Uploads) -> None:
    run, many = new_upload("1.txt"), [uploaded(f"{number}.txt") for number in range(10_000)]
    assert arrivals.first_to_read(run, many)
    assert len(table.get(ITEM)["read"]) == 64


# --- uploads whose event never came


def test_an_object_is_lost_until_a_run_has_listed_it(table: TableInMemory) -> None:
    assert arrivals.is_lost("sotu", [uploaded("1.txt")])
    arrivals.mark_handled("sotu", [uploaded("1.txt"), uploaded("2.txt")])
    assert not arrivals.is_lost("sotu", [uploaded("1.txt"), uploaded("2.txt")])
    assert arrivals.is_lost("sotu", [uploaded("1.txt"), uploaded("3.txt")])
    assert arrivals.is_lost("sotu", [uploaded("1.txt", etag="other")])
    # Objects that were deleted since are not lost.
    assert not arrivals.is_lost("sotu", [uploaded("1.txt")])
    assert not arrivals.is_lost("sotu", [])


def test_nothing_is_lost_while_an_execution_gathers(machine: ExecutionsInMemory, new_upload: Uploads) -> None:
    gatherer = new_upload("1.txt")
    waits(gatherer)
    assert not arrivals.is_lost("sotu", [uploaded("1.txt")])
    machine.end(gatherer.execution.id, "FAILED", "States.Runtime")
    assert arrivals.is_lost("sotu", [uploaded("1.txt")])


def test_the_upload_of_an_aborted_gatherer_is_not_lost_but_those_that_joined_it_are(
    new_upload: Uploads,
) -> None:
    gatherer = new_upload("1.txt")
    arrivals.mark_handled("sotu", [uploaded("0.txt")])
    waits(gatherer)
    joins(new_upload("2.txt"))
    arrivals.leave("sotu", gatherer.execution.id, 2, gatherer.upload)
    assert not arrivals.is_lost("sotu", [uploaded("0.txt"), uploaded("1.txt")])
    assert arrivals.is_lost("sotu", [uploaded("1.txt"), uploaded("2.txt")])


def test_the_upload_of_a_failed_gatherer_is_lost(new_upload: Uploads) -> None:
    gatherer = new_upload("1.txt")
    waits(gatherer)
    arrivals.leave("sotu", gatherer.execution.id, 1, None)
    assert arrivals.is_lost("sotu", [uploaded("1.txt")])


def test_an_empty_list_and_equal_objects_can_be_marked(table: TableInMemory) -> None:
    """DynamoDB refuses an empty set and a set with equal members."""
    arrivals.mark_handled("sotu", [])
    arrivals.mark_handled("sotu", [uploaded("1.txt"), uploaded("1.txt")])
    assert not arrivals.is_lost("sotu", [uploaded("1.txt")])


def test_only_the_newest_two_thousand_objects_are_marked(table: TableInMemory) -> None:
    """A DynamoDB item has at most 400 KB."""
    many = [uploaded(f"{number}.txt", age=timedelta(seconds=number)) for number in range(10_000)]
    arrivals.mark_handled("sotu", many)
    assert not arrivals.is_lost("sotu", many)
    assert arrivals.is_lost("sotu", [*many, uploaded("new.txt")])
    assert len(table.get(ITEM)["handled"]) == 2000


def test_an_object_that_starts_no_run_is_never_lost(table: TableInMemory) -> None:
    """Plan ignores the upload of a README, so no run marks it."""
    assert not arrivals.is_lost("sotu", [uploaded("README.md"), uploaded(".hidden")])
    arrivals.mark_handled("sotu", [uploaded("README.md")])
    assert arrivals.is_lost("sotu", [uploaded("README.md"), uploaded("1.txt")])


def test_a_signature_depends_on_the_objects_and_not_on_their_order() -> None:
    one, two = uploaded("1.txt"), uploaded("2.txt")
    assert arrivals.signature([one, two]) == arrivals.signature([two, one])
    signatures = map(arrivals.signature, ([one], [one, two], [uploaded("1.txt", etag="other")]))
    assert len(set(signatures)) == 3
