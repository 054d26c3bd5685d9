"""arrivals: uploads that come together have one run, and none is left without."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.run import Run
from coordination import arrivals
from core.errors import NothingToDo, ServiceUnavailable
from uploads.listing import UploadedObject

ITEM = "dataset/sotu"
QUIET = 60


@pytest.fixture
def new_upload(new_run: Callable[..., Run]) -> Callable[[str], Run]:
    """new_upload(file): the run of the execution that the file's upload starts."""

    def made(file: str) -> Run:
        upload = {"bucket": "texts", "key": f"uploads/sotu/{file}", "etag": "9b2cf535", "size": 120}
        return new_run(file, upload=upload)

    return made


def joins(run: Run) -> str:
    """Whose run the upload has joined."""
    with pytest.raises(NothingToDo) as told:
        arrivals.gather(run, QUIET)
    return str(told.value).partition(" joined run ")[2].split(",")[0]


def look(key: str, age: timedelta = timedelta(), etag: str = "9b2cf535") -> UploadedObject:
    return UploadedObject(f"uploads/sotu/{key}", etag, 120, datetime.now(UTC) - age)


# --- gathering


def test_the_first_upload_waits_for_a_quiet_period_and_then_begins(
    table: Any, new_upload: Callable[[str], Run], clock: Callable[[float], None]
) -> None:
    first = new_upload("1.txt")
    assert arrivals.gather(first, QUIET) == QUIET
    clock(20)
    assert arrivals.gather(first, QUIET) in (QUIET - 20, QUIET - 19)
    clock(QUIET)
    assert arrivals.gather(first, QUIET) == 0


def test_uploads_that_follow_join_it_and_each_makes_it_wait_anew(
    table: Any, new_upload: Callable[[str], Run], clock: Callable[[float], None]
) -> None:
    first = new_upload("1.txt")
    arrivals.gather(first, QUIET)
    for number in range(2, 5):
        clock(QUIET - 5)
        assert joins(new_upload(f"{number}.txt")) == first.name
    assert arrivals.gather(first, QUIET) >= QUIET - 1
    assert table.get(ITEM)["joined"] == 4


def test_an_upload_that_joins_is_told_whose_run_and_when(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    first = new_upload("1.txt")
    arrivals.gather(first, QUIET)
    with pytest.raises(NothingToDo, match=r"uploads/sotu/2\.txt joined run .* been quiet for 60 s\."):
        arrivals.gather(new_upload("2.txt"), QUIET)


def test_a_run_begins_after_twenty_quiet_periods_however_often_somebody_uploads(
    table: Any, new_upload: Callable[[str], Run], clock: Callable[[float], None]
) -> None:
    first = new_upload("1.txt")
    arrivals.gather(first, QUIET)
    waits = []
    for number in range(2, 60):
        clock(QUIET / 2)
        joins(new_upload(f"{number}.txt"))
        waits.append(arrivals.gather(first, QUIET))
    assert waits.index(0) == pytest.approx(38, abs=1)
    assert max(waits) <= QUIET


def test_datasets_do_not_wait_for_one_another(table: Any, new_run: Callable[..., Run]) -> None:
    for dataset in ("a", "b"):
        assert arrivals.gather(new_run(dataset, dataset=dataset), QUIET) == QUIET


def test_an_upload_after_the_run_has_begun_gathers_anew(table: Any, new_upload: Callable[[str], Run]) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    arrivals.gather(first, QUIET)
    arrivals.close(first)
    assert arrivals.gather(second, QUIET) == QUIET
    arrivals.close(first)
    assert joins(new_upload("3.txt")) == second.name


def test_a_gatherer_that_waits_for_the_lease_still_takes_uploads_along(
    table: Any, new_upload: Callable[[str], Run], clock: Callable[[float], None]
) -> None:
    first = new_upload("1.txt")
    arrivals.gather(first, QUIET)
    clock(QUIET + 1)
    assert arrivals.gather(first, QUIET) == 0
    clock(3600)
    assert joins(new_upload("2.txt")) == first.name


# --- when another is between the look and the write


def test_an_upload_that_comes_while_the_run_begins_is_not_lost_between_the_two(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    arrivals.gather(first, QUIET)
    table.meanwhile(lambda: arrivals.close(first))
    assert arrivals.gather(second, QUIET) == QUIET
    assert joins(new_upload("3.txt")) == second.name


def test_of_two_that_come_first_at_once_one_joins_the_other(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    table.meanwhile(lambda: arrivals.gather(second, QUIET))
    assert joins(first) == second.name


def test_of_two_that_take_over_from_a_dead_gatherer_one_joins_the_other(
    table: Any, machine: Any, new_upload: Callable[[str], Run]
) -> None:
    dead, first, second = (new_upload(file) for file in ("0.txt", "1.txt", "2.txt"))
    arrivals.gather(dead, QUIET)
    machine.end(dead.execution.id, "ABORTED")
    table.meanwhile(lambda: arrivals.gather(second, QUIET))
    assert joins(first) == second.name


def test_an_upload_that_finds_another_gatherer_at_every_look_is_tried_again(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    others = [new_upload(f"{number}.txt") for number in range(6)]
    arrivals.gather(others[0], QUIET)

    def next_one(number: int) -> Callable[[], None]:
        def begin_and_gather() -> None:
            arrivals.close(others[number])
            arrivals.gather(others[number + 1], QUIET)

        return begin_and_gather

    table.meanwhile(*[next_one(number) for number in range(5)])
    with pytest.raises(ServiceUnavailable, match="dataset sotu changed at every look"):
        arrivals.gather(new_upload("9.txt"), QUIET)


# --- a gatherer that ends before its run begins


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT", "SUCCEEDED"])
def test_the_next_upload_takes_over_from_a_dead_gatherer_with_all_that_had_joined(
    table: Any, machine: Any, new_upload: Callable[[str], Run], status: str
) -> None:
    dead, joined, heir = (new_upload(file) for file in ("1.txt", "2.txt", "3.txt"))
    arrivals.gather(dead, QUIET)
    joins(joined)
    machine.end(dead.execution.id, status)
    assert arrivals.gather(heir, QUIET) == QUIET
    assert arrivals.joined("sotu", heir.execution.id) == 3
    # Its own end is noticed late, and is not the heir's.
    assert arrivals.joined("sotu", dead.execution.id) == 0
    assert arrivals.leave("sotu", dead.execution.id, 2, None)
    assert arrivals.gather(heir, QUIET) > 0
    assert joins(new_upload("4.txt")) == heir.name


def test_a_gatherer_thought_dead_that_comes_back_joins_its_heir(
    table: Any, machine: Any, new_upload: Callable[[str], Run]
) -> None:
    # DescribeExecution is eventually consistent: it may not know an execution that has just begun.
    first, heir = new_upload("1.txt"), new_upload("2.txt")
    arrivals.gather(first, QUIET)
    unknown = machine.executions.pop(first.execution.id)
    arrivals.gather(heir, QUIET)
    machine.executions[first.execution.id] = unknown
    assert joins(first) == heir.name


def test_a_gatherer_is_forgotten_only_with_all_that_has_joined_it(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    gatherer = new_upload("1.txt")
    arrivals.gather(gatherer, QUIET)
    assert arrivals.joined("sotu", gatherer.execution.id) == 1
    table.meanwhile(lambda: joins(new_upload("2.txt")))
    assert not arrivals.leave("sotu", gatherer.execution.id, 1, None)
    assert arrivals.joined("sotu", gatherer.execution.id) == 2
    assert arrivals.leave("sotu", gatherer.execution.id, 2, None)
    assert table.get(ITEM) == {}


def test_who_gathers_nothing_has_nothing_to_leave(table: Any, new_upload: Callable[[str], Run]) -> None:
    gatherer, other = new_upload("1.txt"), new_upload("2.txt")
    assert arrivals.joined("sotu", other.execution.id) == 0
    arrivals.gather(gatherer, QUIET)
    joins(other)
    assert arrivals.joined("sotu", other.execution.id) == 0
    assert arrivals.leave("sotu", other.execution.id, 0, None)
    assert arrivals.joined("sotu", gatherer.execution.id) == 2


# --- uploads whose event comes twice


def test_a_run_that_reads_what_the_last_one_has_read_is_told_so(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    first, second = new_upload("1.txt"), new_upload("2.txt")
    assert arrivals.first_to_read(first, ["v1"])
    # Its step may be tried again.
    assert arrivals.first_to_read(first, ["v1"])
    assert not arrivals.first_to_read(second, ["v1"])
    assert arrivals.first_to_read(second, ["v2"])
    assert arrivals.first_to_read(first, ["v1"])
    assert arrivals.first_to_read(first, ["v1", "v2"])


# --- uploads whose event never came


def test_an_object_that_no_run_has_seen_is_lost(table: Any) -> None:
    assert arrivals.is_lost("sotu", [look("1.txt")])
    arrivals.mark_handled("sotu", [look("1.txt")])
    assert not arrivals.is_lost("sotu", [look("1.txt")])
    assert arrivals.is_lost("sotu", [look("1.txt"), look("2.txt")])
    assert arrivals.is_lost("sotu", [look("1.txt", etag="other")])


def test_what_was_deleted_is_not_lost_nor_is_what_it_leaves_behind(table: Any) -> None:
    arrivals.mark_handled("sotu", [look("1.txt"), look("2.txt")])
    assert not arrivals.is_lost("sotu", [look("1.txt")])
    assert not arrivals.is_lost("sotu", [])


def test_nothing_is_lost_while_a_running_execution_gathers(
    table: Any, machine: Any, new_upload: Callable[[str], Run]
) -> None:
    gatherer = new_upload("1.txt")
    arrivals.gather(gatherer, QUIET)
    assert not arrivals.is_lost("sotu", [look("1.txt")])
    machine.end(gatherer.execution.id, "FAILED", "States.Runtime")
    assert arrivals.is_lost("sotu", [look("1.txt")])


def test_an_upload_whose_run_somebody_aborted_is_not_lost_but_what_had_joined_it_is(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    gatherer = new_upload("1.txt")
    arrivals.mark_handled("sotu", [look("0.txt")])
    arrivals.gather(gatherer, QUIET)
    joins(new_upload("2.txt"))
    arrivals.leave("sotu", gatherer.execution.id, 2, gatherer.upload)
    assert not arrivals.is_lost("sotu", [look("0.txt"), look("1.txt")])
    assert arrivals.is_lost("sotu", [look("1.txt"), look("2.txt")])


def test_a_gathering_that_failed_is_not_taken_for_one_that_was_aborted(
    table: Any, new_upload: Callable[[str], Run]
) -> None:
    gatherer = new_upload("1.txt")
    arrivals.gather(gatherer, QUIET)
    arrivals.leave("sotu", gatherer.execution.id, 1, None)
    assert arrivals.is_lost("sotu", [look("1.txt")])


def test_a_run_that_sees_nothing_and_one_that_sees_a_thing_twice_are_remembered_too(table: Any) -> None:
    arrivals.mark_handled("sotu", [])
    arrivals.mark_handled("sotu", [look("1.txt"), look("1.txt")])
    assert not arrivals.is_lost("sotu", [look("1.txt")])


def test_of_ten_thousand_objects_the_newest_are_told_apart(table: Any) -> None:
    many = [look(f"{number}.txt", age=timedelta(seconds=number)) for number in range(10_000)]
    arrivals.mark_handled("sotu", many)
    assert not arrivals.is_lost("sotu", many)
    assert arrivals.is_lost("sotu", [*many, look("new.txt")])
    assert len(table.get(ITEM)["handled"]) == 2000


def test_the_same_objects_have_the_same_signature_in_any_order() -> None:
    one, two = look("1.txt"), look("2.txt")
    assert arrivals.signature([one, two]) == arrivals.signature([two, one])
    assert arrivals.signature([one]) != arrivals.signature([one, two])
    assert arrivals.signature([one]) != arrivals.signature([look("1.txt", etag="other")])
