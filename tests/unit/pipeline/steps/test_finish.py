"""finish: a model that passed its smoke test is marked, scales, and gets a teardown as requested."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from cleanup import schedules
from core.errors import AccessDenied
from steps import finish
from tests.unit.pipeline.documents import FORMER, NAME, OTHER, Document, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.still_clock import stand_still
from tests.unit.pipeline.stubbed_aws import ExpectedCalls, Owners

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_TEXT = "2026-03-01T12:00:00+00:00"
Finishes = Callable[[], Document]


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, finish, schedules)


@pytest.fixture
def finishes(documents: Documents, lease_held: TableInMemory, context: LambdaContext) -> Finishes:
    return lambda: finish.handler(documents.input("run", "lease", "deployed"), context)


def marks(expect: ExpectedCalls, **tags: str) -> None:
    """Announce that the config gets these tags, and that it replaced none."""
    expect.add_tags(verified=NOW_TEXT, **tags)
    expect.list_tags()


@pytest.mark.parametrize("scaled_before", [True, False])
def test_the_config_is_marked_as_verified_and_does_not_scale(
    expect: ExpectedCalls, finishes: Finishes, scaled_before: bool
) -> None:
    marks(expect)
    expect.stop_scaling(scales=scaled_before)
    assert finishes() == {"scales": False, "teardown_at": None, "replaced": None}


def test_only_the_second_to_last_config_is_deleted(expect: ExpectedCalls, finishes: Finishes) -> None:
    """SageMaker rolls back to the last one."""
    expect.add_tags(verified=NOW_TEXT)
    expect.list_tags(previous=FORMER, previous_model="lexline--model")
    expect.list_tags(FORMER, previous=OTHER)
    expect.delete_config_and_model(OTHER)
    expect.stop_scaling(scales=False)
    # The config may be that of a run that deployed the model of another one.
    assert finishes()["replaced"] == "lexline--model"


def test_a_second_to_last_config_that_is_not_the_stacks_stays(
    expect: ExpectedCalls, finishes: Finishes, owners: Owners
) -> None:
    """The run has its model in service, so it does not fail for what an earlier version left."""
    owners.belongs_to(f"endpoint-config/{OTHER}", None)
    expect.add_tags(verified=NOW_TEXT)
    expect.list_tags(previous=FORMER)
    expect.list_tags(FORMER, previous=OTHER)
    expect.stop_scaling(scales=False)
    finishes()


def test_scaling_starts_and_the_config_says_how(
    expect: ExpectedCalls, finishes: Finishes, documents: Documents
) -> None:
    hosting = {"instance_count": 2, "max_instance_count": 6, "invocations_per_instance": 90}
    documents.run["hosting"].update(hosting)
    marks(expect, scales="2-6@90")
    expect.start_scaling(2, 6, 90.0)
    assert finishes()["scales"] is True


@pytest.mark.parametrize(
    ("teardown", "teardown_of", "at"),
    [
        ({"after": "PT8H"}, {"run": NAME}, NOW + timedelta(hours=8, seconds=1)),
        # A minute more, because the smoke test's own requests count as use in theirs.
        ({"when_idle": "PT1H"}, {"run": NAME, "when_idle": "PT1H"}, NOW + timedelta(hours=1, seconds=61)),
        ({"when_idle": "P2D"}, {"run": NAME, "when_idle": "P2D"}, NOW + timedelta(days=2, seconds=61)),
    ],
)
def test_the_teardown_is_scheduled_and_the_config_says_when(
    expect: ExpectedCalls,
    finishes: Finishes,
    documents: Documents,
    teardown: dict[str, str],
    teardown_of: Any,
    at: datetime,
) -> None:
    documents.run["teardown"] = teardown
    expect.stubbed.answers("scheduler", "create_schedule", {"ScheduleArn": "arn"})
    idle = {"teardown_when_idle": teardown["when_idle"]} if "when_idle" in teardown else {}
    marks(expect, teardown_at=at.isoformat(), **idle)
    expect.stop_scaling(scales=False)
    assert datetime.fromisoformat(finishes()["teardown_at"]) == at
    schedule = expect.stubbed.parameters["CreateSchedule"]
    assert schedule["ScheduleExpression"] == f"at({at:%Y-%m-%dT%H:%M:%S})"
    assert json.loads(schedule["Target"]["Input"]) == {"teardown_of": teardown_of}


def test_the_teardown_that_follows_at_once_is_due_now(
    expect: ExpectedCalls, finishes: Finishes, documents: Documents
) -> None:
    """If it fails, the sweep sees by the tag that it is overdue."""
    documents.run["teardown"] = "always"
    marks(expect, teardown_at=NOW_TEXT)
    expect.stop_scaling(scales=False)
    assert finishes()["teardown_at"] is None


def test_a_config_that_cannot_be_marked_does_not_scale(
    expect: ExpectedCalls, finishes: Finishes, documents: Documents
) -> None:
    """A run that fails before the mark is undone; after it, the model stays."""
    documents.run["hosting"].update(max_instance_count=6)
    expect.stubbed.refuses("sagemaker", "add_tags", "AccessDeniedException", "Not allowed.")
    with pytest.raises(AccessDenied):
        finishes()
    assert "RegisterScalableTarget" not in expect.stubbed.calls
