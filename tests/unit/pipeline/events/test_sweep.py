"""sweep: orphans are reported or deleted once a day, and lost events are made up for."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from cleanup import orphans
from cleanup.orphans import Needed
from cleanup.resources import Kind
from coordination import arrivals
from core.errors import AccessDenied
from events import sweep
from tests.unit.pipeline.conftest import NewRun
from tests.unit.pipeline.documents import NAME, OTHER, OTHER_STACK_ID
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.still_clock import stand_still
from tests.unit.pipeline.stubbed_aws import ExpectedCalls, Owners
from uploads.listing import UploadedObject

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
ORPHANS: list[tuple[Kind, str]] = [("training-job", OTHER), ("endpoint-config", OTHER), ("model", OTHER)]
TEARDOWN = Needed("teardown", NAME, {"teardown_of": {"run": NAME}})
CLEANUP = Needed("cleanup", NAME, {"cleanup_of": {"run": NAME, "execution": "", "status": "FAILED"}})
NOTHING = {"orphans": [], "removed": True, "foreign": [], "started": []}
Sweeps = Callable[..., Any]


@pytest.fixture(autouse=True)
def _in_memory(table: TableInMemory, machine: ExecutionsInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_still(monkeypatch, NOW, sweep)


@pytest.fixture
def sweeps(expect: ExpectedCalls, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    """sweeps(...): sweep an account with these orphans, this needed execution and these datasets.

    `reported` says whether the topic gets a message.
    """

    def swept(
        found: Any = (),
        needed: Needed | None = None,
        datasets: tuple[str, ...] = (),
        *,
        reported: bool = False,
    ) -> Any:
        monkeypatch.setattr(orphans, "find", lambda name: list(found))
        monkeypatch.setattr(orphans, "needed_execution", lambda name: needed)
        folders = {"CommonPrefixes": [{"Prefix": f"uploads/{dataset}/"} for dataset in datasets]}
        parameters = {"Bucket": "texts", "Prefix": "uploads/", "Delimiter": "/"}
        expect.stubbed.answers("s3", "list_objects_v2", folders, **parameters)
        for dataset in datasets:
            file = "a.txt" if dataset == "sotu" else ""
            each = {"Key": f"uploads/{dataset}/{file}", "ETag": '"9b2cf535"', "Size": 5, "LastModified": NOW}
            parameters = {"Bucket": "texts", "Prefix": f"uploads/{dataset}/"}
            expect.stubbed.answers("s3", "list_objects_v2", {"Contents": [each]}, **parameters)
        if reported:
            expect.publish()
        return sweep.handler({"detail-type": "Scheduled Event"}, context)

    return swept


def started(machine: ExecutionsInMemory, purpose: str) -> Any:
    """Return the input of the only execution, which has the purpose in its name."""
    (arn,) = machine.executions
    assert arn.startswith(machine.arn(f"{purpose}-"))
    return machine.input(arn)


# --- orphans


def test_no_message_is_sent_if_nothing_was_found(sweeps: Sweeps) -> None:
    assert sweeps() == NOTHING


@pytest.mark.parametrize("exist", [True, False])
def test_orphans_are_deleted_and_reported(expect: ExpectedCalls, sweeps: Sweeps, exist: bool) -> None:
    """A resource that was deleted since the listing is no error."""
    if exist:
        expect.stop_training_job(OTHER)
    else:
        message = "The training job is in status Completed."
        expect.stubbed.refuses("sagemaker", "stop_training_job", "ValidationException", message)
    expect.delete_config_and_model(OTHER, config=exist, model=exist)
    found = sweeps(ORPHANS, reported=True)
    assert found == {**NOTHING, "orphans": [f"{kind}/{name}" for kind, name in ORPHANS]}


def test_orphans_are_only_reported_if_the_deployment_says_so(
    expect: ExpectedCalls, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP", "report")
    found = sweeps(ORPHANS, reported=True)
    assert (len(found["orphans"]), found["removed"]) == (3, False)
    assert not {"StopTrainingJob", "DeleteEndpointConfig", "DeleteModel"} & set(expect.stubbed.calls)


@pytest.mark.parametrize("deletes", ["delete", "report"])
def test_what_looks_like_an_orphan_but_is_not_the_stacks_stays_and_is_reported(
    expect: ExpectedCalls,
    sweeps: Sweeps,
    owners: Owners,
    monkeypatch: pytest.MonkeyPatch,
    deletes: str,
) -> None:
    """The other stack has the same EndpointName, or an earlier version created the resource."""
    monkeypatch.setenv("SWEEP", deletes)
    owners.belongs_to(f"training-job/{OTHER}", OTHER_STACK_ID)
    owners.belongs_to(f"model/{OTHER}", None)
    if deletes == "delete":
        expect.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=OTHER)
    found = sweeps(ORPHANS, reported=True)
    assert found["orphans"] == [f"endpoint-config/{OTHER}"]
    assert [sentence.split()[0] for sentence in found["foreign"]] == [
        f"training-job/{OTHER}",
        f"model/{OTHER}",
    ]


def test_deletions_come_last(expect: ExpectedCalls, machine: ExecutionsInMemory, sweeps: Sweeps) -> None:
    """A refused deletion does not prevent the executions that save money or uploads."""
    expect.stubbed.refuses("sagemaker", "delete_model", "AccessDeniedException", "Not allowed.")
    with pytest.raises(AccessDenied):
        sweeps([("model", OTHER)], TEARDOWN, ("sotu",))
    assert len(machine.executions) == 2


# --- the lease and the endpoint


def test_the_lease_of_an_ended_execution_is_passed_on(
    table: TableInMemory, machine: ExecutionsInMemory, sweeps: Sweeps
) -> None:
    arn = machine.start("first", {"dataset": "sotu"})
    lease = {"owner": NAME, "execution": arn, "generation": 7, "until": time.time() + 900, "waiting": {}}
    table.put("endpoint/lexline", **lease)
    machine.end(arn, "SUCCEEDED")
    sweeps()
    assert "owner" not in table.get("endpoint/lexline")


@pytest.mark.parametrize("needed", [TEARDOWN, CLEANUP])
def test_the_execution_that_the_endpoint_needs_is_started(
    machine: ExecutionsInMemory, sweeps: Sweeps, needed: Needed
) -> None:
    found = sweeps(needed=needed, reported=True)
    assert started(machine, needed.purpose) == needed.request
    assert found["started"] == list(machine.executions)


def test_an_unsuccessful_teardown_is_started_again_once_a_day(
    machine: ExecutionsInMemory, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day, starts in ((0, True), (0, False), (1, True), (2, True)):
        stand_still(monkeypatch, NOW + timedelta(days=day), sweep)
        assert bool(sweeps(needed=TEARDOWN, reported=starts)["started"]) is starts
        for arn in machine.executions:
            machine.end(arn, "FAILED", "AccessDenied")
    assert len(machine.executions) == 3


def test_a_cleanup_is_only_reported_if_the_deployment_says_so(
    machine: ExecutionsInMemory, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP", "report")
    assert sweeps(needed=CLEANUP, reported=True)["orphans"] == ["endpoint/lexline"]
    assert machine.executions == {}


# --- uploads


def test_a_lost_upload_gets_one_run(machine: ExecutionsInMemory, sweeps: Sweeps) -> None:
    found = sweeps(datasets=("sotu",), reported=True)
    assert started(machine, "lost-upload") == {"dataset": "sotu"}
    assert found["started"] == list(machine.executions)
    machine.end(found["started"][0], "FAILED", "InvalidInput")
    assert sweeps(datasets=("sotu",)) == NOTHING
    assert len(machine.executions) == 1


def test_an_upload_that_a_run_has_listed_and_an_empty_folder_get_no_run(
    machine: ExecutionsInMemory, sweeps: Sweeps
) -> None:
    arrivals.mark_handled("sotu", [UploadedObject("uploads/sotu/a.txt", "9b2cf535", 5, NOW)])
    assert sweeps(datasets=("sotu", "empty")) == NOTHING
    assert machine.executions == {}


def test_an_ended_gatherer_is_cleared(
    expect: ExpectedCalls,
    machine: ExecutionsInMemory,
    new_run: NewRun,
    sweeps: Sweeps,
    context: LambdaContext,
) -> None:
    upload = {"bucket": "texts", "key": "uploads/gathered/a.txt", "etag": "9b2cf535", "size": 5}
    run = new_run("gatherer", upload=upload, dataset="gathered")
    arrivals.gather(run)
    machine.end(run.execution.id, "ABORTED")
    sweeps()
    folder = {"CommonPrefixes": [{"Prefix": "uploads/gathered/"}]}
    expect.stubbed.answers("s3", "list_objects_v2", folder)
    sweep.handler({}, context)
    assert arrivals.gatherer("gathered") is None
    assert list(machine.executions) == [run.execution.id]
