"""finish: a model that passed is marked, its fleet scales, and its end is scheduled where asked for."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cleanup import schedules
from core.errors import AccessDenied, LeaseLost
from steps import finish
from tests.unit.pipeline.still_clock import stand_still

NAME = "lexline--sotu-0123456789ab"
CONFIG_ARN = f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{NAME}"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_TEXT = "2026-03-01T12:00:00+00:00"
AUTOSCALING = "application-autoscaling"


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, finish, schedules)


@pytest.fixture
def event(documents: Any, lease_held: Any) -> dict[str, Any]:
    return {"run": documents.run, "lease": documents.lease, "deployed": documents.deployed}


def marks(stubbed: Any, *before: dict[str, str], **tags: str) -> None:
    """The config is given these tags; `before` are those that it, and the one it replaced, had already."""
    stubbed.answers(
        "sagemaker",
        "add_tags",
        {},
        ResourceArn=CONFIG_ARN,
        Tags=[{"Key": f"lexline:{key.replace('_', '-')}", "Value": value} for key, value in tags.items()],
    )
    for had in before or ({},):
        stubbed.answers(
            "sagemaker",
            "list_tags",
            {"Tags": [{"Key": f"lexline:{key}", "Value": value} for key, value in had.items()]},
        )


def does_not_scale(stubbed: Any) -> None:
    stubbed.refuses(AUTOSCALING, "deregister_scalable_target", "ObjectNotFoundException")


def test_a_model_that_passed_is_marked_as_verified(stubbed: Any, event: Any, context: Any) -> None:
    marks(stubbed, verified=NOW_TEXT)
    does_not_scale(stubbed)
    assert finish.handler(event, context) == {"scales": False, "teardown_at": None}


def test_what_served_before_the_last_is_retired(stubbed: Any, event: Any, context: Any) -> None:
    marks(stubbed, {"previous": "second"}, {"previous": "first"}, verified=NOW_TEXT)
    stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName="first")
    stubbed.answers("sagemaker", "delete_model", {}, ModelName="first")
    does_not_scale(stubbed)
    finish.handler(event, context)


def test_the_last_that_served_is_kept_to_go_back_to(stubbed: Any, event: Any, context: Any) -> None:
    marks(stubbed, {"previous": "first"}, {}, verified=NOW_TEXT)
    does_not_scale(stubbed)
    finish.handler(event, context)


def test_a_fleet_with_room_scales_and_its_config_says_how_far(stubbed: Any, event: Any, context: Any) -> None:
    event["run"]["hosting"].update(instance_count=2, max_instance_count=6, invocations_per_instance=90)
    marks(stubbed, verified=NOW_TEXT, scales="2-6@90")
    stubbed.answers(AUTOSCALING, "register_scalable_target", {})
    stubbed.answers(AUTOSCALING, "put_scaling_policy", {"PolicyARN": "arn"})
    assert finish.handler(event, context)["scales"] is True
    asked = stubbed.parameters["RegisterScalableTarget"]
    assert (asked["MinCapacity"], asked["MaxCapacity"]) == (2, 6)


def test_a_fleet_that_scaled_before_and_is_not_to_any_more_stops(
    stubbed: Any, event: Any, context: Any
) -> None:
    marks(stubbed, verified=NOW_TEXT)
    stubbed.answers(AUTOSCALING, "deregister_scalable_target", {})
    finish.handler(event, context)


@pytest.mark.parametrize(
    ("teardown", "wish", "at", "tags"),
    [
        (
            {"after": "PT8H"},
            {"run": NAME},
            datetime(2026, 3, 1, 20, 0, 1, tzinfo=UTC),
            {"teardown_at": "2026-03-01T20:00:01+00:00"},
        ),
        # A minute more, for the smoke test's own requests count in theirs.
        (
            {"when_idle": "PT1H"},
            {"run": NAME, "when_idle": "PT1H"},
            datetime(2026, 3, 1, 13, 1, 1, tzinfo=UTC),
            {"teardown_at": "2026-03-01T13:01:01+00:00", "teardown_when_idle": "PT1H"},
        ),
        ({"when_idle": "P2D"}, {"run": NAME, "when_idle": "P2D"}, NOW + timedelta(days=2, seconds=61), None),
    ],
)
def test_the_endpoints_end_is_scheduled_and_written_on_its_config(
    stubbed: Any, event: Any, context: Any, teardown: Any, wish: Any, at: datetime, tags: Any
) -> None:
    event["run"]["teardown"] = teardown
    stubbed.answers("scheduler", "create_schedule", {"ScheduleArn": "arn"})
    if tags:
        marks(stubbed, verified=NOW_TEXT, **tags)
    else:
        stubbed.answers("sagemaker", "add_tags", {})
        stubbed.answers("sagemaker", "list_tags", {"Tags": []})
    does_not_scale(stubbed)
    finished = finish.handler(event, context)
    assert datetime.fromisoformat(finished["teardown_at"]) == at
    schedule = stubbed.parameters["CreateSchedule"]
    assert schedule["ScheduleExpression"] == f"at({at:%Y-%m-%dT%H:%M:%S})"
    assert json.loads(schedule["Target"]["Input"]) == {"teardown_of": wish}


def test_a_tear_down_that_comes_next_is_late_for_the_sweep_if_it_never_comes(
    stubbed: Any, event: Any, context: Any
) -> None:
    event["run"]["teardown"] = "always"
    marks(stubbed, verified=NOW_TEXT, teardown_at=NOW_TEXT)
    does_not_scale(stubbed)
    assert finish.handler(event, context)["teardown_at"] is None


def test_a_model_that_is_not_marked_does_not_scale(stubbed: Any, event: Any, context: Any) -> None:
    """A failure before the mark is undone as a whole; after it, the model stays."""
    event["run"]["hosting"].update(max_instance_count=6)
    stubbed.refuses("sagemaker", "add_tags", "AccessDeniedException", "Not allowed.")
    with pytest.raises(AccessDenied):
        finish.handler(event, context)
    assert "RegisterScalableTarget" not in stubbed.calls


def test_a_run_that_has_lost_its_lease_marks_nothing(stubbed: Any, event: Any, context: Any) -> None:
    event["lease"]["generation"] = 6
    with pytest.raises(LeaseLost):
        finish.handler(event, context)
    assert "AddTags" not in stubbed.calls
