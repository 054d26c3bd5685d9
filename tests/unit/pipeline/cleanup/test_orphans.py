"""orphans: which resources have no owner, and which execution the endpoint needs."""

import time
from datetime import UTC, datetime

import pytest

from cleanup import orphans
from cleanup.orphans import Needed
from tests.unit.pipeline.documents import FORMER, NAME, OTHER, OTHER_STACK_ID
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.executions_in_memory import ExecutionsInMemory
from tests.unit.pipeline.still_clock import stand_still
from tests.unit.pipeline.stubbed_aws import ExpectedCalls

# The run that holds the lease, and the subject of its cleanup or teardown.
OWNER, SUBJECT = "lexline--sotu-333333333333", "lexline--sotu-444444444444"
NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
DUE, NOT_OVERDUE = "2026-03-08T10:59:59+00:00", "2026-03-08T11:00:01+00:00"
VERIFIED = {"verified": "2026-03-01T12:00:00+00:00", "generation": "7"}


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, orphans)


@pytest.fixture(autouse=True)
def _in_memory(table: TableInMemory, machine: ExecutionsInMemory) -> None:
    pass


def hold_lease(table: TableInMemory, run: str, execution: str) -> None:
    item = {"owner": run, "execution": execution, "generation": 7, "until": time.time() + 900}
    table.put("endpoint/lexline", **item, waiting={})


def serves(expect: ExpectedCalls, **tags: str) -> None:
    expect.describe_endpoint()
    expect.list_tags(**VERIFIED, **tags)


def exist(expect: ExpectedCalls, *runs: str) -> None:
    """Let each run have a training job, an endpoint config and a model."""
    expect.list_training_jobs(*runs)
    expect.list_endpoint_configs(*runs)
    expect.list_models(*runs)


# --- resources


def test_a_resource_that_serves_or_was_replaced_last_is_no_orphan(expect: ExpectedCalls) -> None:
    """SageMaker can roll back to the config that was replaced last."""
    exist(expect, NAME, FORMER, OTHER)
    serves(expect, previous=FORMER)
    assert orphans.find("lexline") == [("training-job", OTHER), ("endpoint-config", OTHER), ("model", OTHER)]


def test_every_resource_is_an_orphan_if_nothing_serves(expect: ExpectedCalls) -> None:
    exist(expect, NAME)
    expect.no_endpoint()
    assert {name for _, name in orphans.find("lexline")} == {NAME}


@pytest.mark.parametrize(
    ("request_", "owned"),
    [
        ({"dataset": "sotu"}, {OWNER}),
        ({"cleanup_of": {"run": SUBJECT}}, {OWNER, SUBJECT}),
        ({"teardown_of": {"run": SUBJECT}}, {OWNER, SUBJECT}),
    ],
)
def test_the_resources_of_the_leases_owner_and_its_subject_are_no_orphans(
    expect: ExpectedCalls,
    table: TableInMemory,
    machine: ExecutionsInMemory,
    request_: dict[str, object],
    owned: set[str],
) -> None:
    hold_lease(table, OWNER, machine.start("first", request_))
    exist(expect, OWNER, SUBJECT, OTHER)
    serves(expect)
    assert {name for _, name in orphans.find("lexline")} == {OWNER, SUBJECT, OTHER} - owned


@pytest.mark.parametrize("config", ["by-hand", "lexline-foo"])
def test_the_tags_of_a_config_that_no_run_created_are_not_read(expect: ExpectedCalls, config: str) -> None:
    """The role may not read them."""
    exist(expect)
    for _ in range(2):
        expect.describe_endpoint(config=config)
    assert orphans.find("lexline") == []
    assert orphans.needed_execution("lexline") is None


def test_owners_are_read_after_the_listing(expect: ExpectedCalls) -> None:
    """Otherwise a resource that a run creates in between would be an orphan."""
    exist(expect, NAME)
    serves(expect)
    orphans.find("lexline")
    calls = expect.stubbed.calls
    assert calls.index("ListModels") < min(calls.index("GetItem"), calls.index("DescribeEndpoint"))


# --- the endpoint


@pytest.mark.parametrize("idle", [None, "PT1H"])
def test_an_overdue_endpoint_needs_a_teardown(expect: ExpectedCalls, idle: str | None) -> None:
    serves(expect, teardown_at=DUE, **({"teardown_when_idle": idle} if idle else {}))
    teardown_of = {"run": NAME, **({"when_idle": idle} if idle else {})}
    expected = Needed("teardown", NAME, {"teardown_of": teardown_of})
    assert orphans.needed_execution("lexline") == expected


def test_an_endpoint_whose_model_was_never_verified_needs_a_cleanup(expect: ExpectedCalls) -> None:
    """Its run could not clean up. A teardown would end the former model too."""
    expect.describe_endpoint()
    expect.list_tags(generation="7", previous=FORMER)
    request = {"cleanup_of": {"run": NAME, "execution": "", "status": "FAILED"}}
    assert orphans.needed_execution("lexline") == Needed("cleanup", NAME, request)


@pytest.mark.parametrize("tags", [VERIFIED, {**VERIFIED, "teardown_at": NOT_OVERDUE}, {"run": NAME}], ids=str)
def test_another_endpoint_needs_nothing(expect: ExpectedCalls, tags: dict[str, str]) -> None:
    """A config without a generation is of a version that did not mark verified models."""
    expect.describe_endpoint()
    expect.list_tags(**tags)
    assert orphans.needed_execution("lexline") is None


@pytest.mark.parametrize("stack", [OTHER_STACK_ID, ""])
def test_another_stacks_endpoint_needs_nothing(expect: ExpectedCalls, stack: str) -> None:
    serves(expect, teardown_at=DUE, stack=stack)
    assert orphans.needed_execution("lexline") is None


def test_an_endpoint_needs_nothing_while_a_run_holds_the_lease(
    expect: ExpectedCalls, table: TableInMemory, machine: ExecutionsInMemory
) -> None:
    hold_lease(table, OWNER, machine.start("first", {"dataset": "sotu"}))
    expect.describe_endpoint()
    assert orphans.needed_execution("lexline") is None
    expect.no_endpoint()
    assert orphans.needed_execution("lexline") is None
