"""teardown: endpoint, endpoint config and model go, in that order, and only this run's."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cleanup import idle, schedules
from core.errors import EndpointBusy, LeaseLost, NothingToDo
from steps import teardown
from tests.unit.pipeline.still_clock import stand_still

NAME = "lexline--sotu-0123456789ab"
TEARDOWN = "lexline--teardown-bbbbbbbbbbbb"
OTHER = "lexline--sotu-ffffffffffff"
CONFIG_ARN = f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{NAME}"
NO_CONFIG = ("ValidationException", "Could not find endpoint configuration")
NO_ENDPOINT = ("ValidationException", "Could not find endpoint")
NO_MODEL = ("ValidationException", "Could not find model")
NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    return stand_still(monkeypatch, NOW, teardown, schedules)


@pytest.fixture
def event(documents: Any, lease_held: Any) -> dict[str, Any]:
    return {"run": documents.run, "lease": documents.lease}


@pytest.fixture
def taking_down(event: Any) -> Any:
    """taking_down(**wish): the event of a scheduled execution that takes NAME down."""

    def made(**wish: Any) -> Any:
        event["run"].update(work="teardown", dataset=None, teardown_of={"run": NAME, **wish})
        return event

    return made


@pytest.fixture
def endpoint_is(stubbed: Any, described: Any) -> Any:
    def announced(*args: Any, **more: Any) -> None:
        answer = described.endpoint(*args, **more)
        stubbed.answers("sagemaker", "describe_endpoint", answer, EndpointName="lexline")

    return announced


def deletes_config_and_model(stubbed: Any) -> None:
    stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=NAME)
    stubbed.answers("sagemaker", "delete_model", {}, ModelName=NAME)


def finds_neither_config_nor_model(stubbed: Any) -> None:
    stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
    stubbed.refuses("sagemaker", "delete_model", *NO_MODEL)


def test_the_endpoint_goes_first_and_is_waited_for(
    stubbed: Any, event: Any, context: Any, endpoint_is: Any
) -> None:
    endpoint_is()
    stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy):
        teardown.handler(event, context)


@pytest.mark.parametrize("status", ["Deleting", "Updating", "Creating", "SystemUpdating", "RollingBack"])
def test_nothing_is_deleted_while_the_endpoint_changes(
    event: Any, context: Any, endpoint_is: Any, status: str
) -> None:
    endpoint_is(status)
    with pytest.raises(EndpointBusy, match=status):
        teardown.handler(event, context)


@pytest.mark.parametrize("status", ["Failed", "OutOfService"])
def test_a_broken_endpoint_goes_as_well(
    stubbed: Any, event: Any, context: Any, endpoint_is: Any, status: str
) -> None:
    endpoint_is(status)
    stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy):
        teardown.handler(event, context)


def test_config_and_model_go_when_the_endpoint_is_gone(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)
    stubbed.answers("sagemaker", "describe_endpoint_config", described.config(), EndpointConfigName=NAME)
    deletes_config_and_model(stubbed)
    assert teardown.handler(event, context) == {
        "removed": ["endpoint/lexline", f"endpoint-config/{NAME}", f"model/{NAME}"]
    }


def test_an_endpoint_that_serves_another_run_stays(
    stubbed: Any, event: Any, context: Any, endpoint_is: Any
) -> None:
    endpoint_is(config=OTHER)
    deletes_config_and_model(stubbed)
    assert teardown.handler(event, context) == {"removed": [f"endpoint-config/{NAME}", f"model/{NAME}"]}


def test_an_endpoint_goes_though_somebody_has_deleted_its_config(
    stubbed: Any, event: Any, context: Any, endpoint_is: Any
) -> None:
    """It serves and costs all the same."""
    endpoint_is()
    stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy):
        teardown.handler(event, context)


def test_a_second_tear_down_finds_nothing_and_says_so(stubbed: Any, event: Any, context: Any) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)
    stubbed.refuses("sagemaker", "describe_endpoint_config", *NO_CONFIG)
    finds_neither_config_nor_model(stubbed)
    assert teardown.handler(event, context) == {"removed": []}


def test_a_run_that_has_lost_its_lease_deletes_nothing(stubbed: Any, event: Any, context: Any) -> None:
    event["lease"]["generation"] = 6
    with pytest.raises(LeaseLost):
        teardown.handler(event, context)
    assert set(stubbed.calls) == {"UpdateItem"}


# --- by schedule ---------------------------------------------------------------------------------


def test_a_schedules_time_takes_down_what_the_run_serves(
    stubbed: Any, taking_down: Any, context: Any, endpoint_is: Any
) -> None:
    endpoint_is()
    stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy):
        teardown.handler(taking_down(), context)


def test_a_schedule_of_a_run_that_serves_no_more_does_nothing(
    taking_down: Any, context: Any, endpoint_is: Any
) -> None:
    """Its config may be what the endpoint goes back to, so that stays as well."""
    endpoint_is(config=OTHER)
    with pytest.raises(NothingToDo, match=f"serves {OTHER} by now, not {NAME}"):
        teardown.handler(taking_down(), context)


def test_a_schedule_of_what_is_gone_already_says_so(stubbed: Any, taking_down: Any, context: Any) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)
    stubbed.refuses("sagemaker", "describe_endpoint_config", *NO_CONFIG)
    finds_neither_config_nor_model(stubbed)
    with pytest.raises(NothingToDo, match="nothing is left"):
        teardown.handler(taking_down(), context)


def test_what_another_execution_takes_down_is_the_run_that_was_named(
    stubbed: Any, taking_down: Any, context: Any, described: Any
) -> None:
    event = taking_down()
    event["run"].update(name=TEARDOWN)
    stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)
    stubbed.answers("sagemaker", "describe_endpoint_config", described.config(), EndpointConfigName=NAME)
    deletes_config_and_model(stubbed)
    assert teardown.handler(event, context)["removed"][1:] == [f"endpoint-config/{NAME}", f"model/{NAME}"]


# --- when idle -----------------------------------------------------------------------------------


def invocations(stubbed: Any, *points: tuple[str, float], within: timedelta = timedelta(hours=1)) -> None:
    """Announces the question to CloudWatch; points are by their time, without the date when it is today."""
    stubbed.answers(
        "cloudwatch",
        "get_metric_statistics",
        {
            "Datapoints": [
                {"Timestamp": datetime.fromisoformat(f"2026-03-01T{at}+00:00"), "Sum": count}
                for at, count in points
            ]
        },
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": "lexline"},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=NOW - within,
        EndTime=NOW + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )


@pytest.mark.parametrize("points", [[], [("11:30:00", 0.0)]])
def test_an_idle_endpoint_goes(
    stubbed: Any, taking_down: Any, context: Any, endpoint_is: Any, points: Any
) -> None:
    endpoint_is()
    invocations(stubbed, *points)
    stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy):
        teardown.handler(taking_down(when_idle="PT1H"), context)


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        # An hour and a second after the end of the minute in which it was last asked. CloudWatch gives its
        # points in no order.
        (["11:29:00", "11:30:00", "11:10:00"], "12:31:01"),
        (["12:00:00"], "13:01:01"),
        # Its minute began before the hour did: it is looked at again as soon as that minute is over.
        (["11:00:00"], "12:01:01"),
    ],
)
def test_an_endpoint_that_was_asked_stays_and_is_looked_at_again(
    stubbed: Any, taking_down: Any, context: Any, endpoint_is: Any, asked: list[str], again: str
) -> None:
    endpoint_is()
    invocations(stubbed, *((minute, 3.0) for minute in asked), ("11:59:00", 0.0))
    stubbed.answers("scheduler", "create_schedule", {"ScheduleArn": "arn"})
    stubbed.answers(
        "sagemaker",
        "add_tags",
        {},
        ResourceArn=CONFIG_ARN,
        Tags=[{"Key": "lexline:teardown-at", "Value": f"2026-03-01T{again}+00:00"}],
    )
    with pytest.raises(NothingToDo, match=f"looked at again at 2026-03-01 {again[:5]} UTC"):
        teardown.handler(taking_down(when_idle="PT1H"), context)
    schedule = stubbed.parameters["CreateSchedule"]
    assert schedule["ScheduleExpression"] == f"at(2026-03-01T{again})"
    assert json.loads(schedule["Target"]["Input"]) == {"teardown_of": {"run": NAME, "when_idle": "PT1H"}}


@pytest.mark.parametrize(
    "within",
    [
        timedelta(seconds=1),
        timedelta(minutes=5),
        timedelta(hours=23),
        timedelta(hours=24),
        timedelta(days=13, hours=23),
        timedelta(days=14),
        timedelta(days=15),
        timedelta(days=61),
        timedelta(days=62),
        timedelta(days=63),
        timedelta(days=366),
    ],
)
def test_cloudwatch_is_asked_for_no_more_and_no_finer_points_than_it_has(
    stubbed: Any, within: timedelta
) -> None:
    """GetMetricStatistics' reference: at most 1,440 points at once; and from a start 15 days ago the period
    is a multiple of 300 s, from 63 days ago of 3,600 s, else nothing is answered, as if it were idle.
    """
    stubbed.answers("cloudwatch", "get_metric_statistics", {"Datapoints": []})
    assert idle.last_used("lexline", within) is None
    asked = stubbed.parameters["GetMetricStatistics"]
    period, age = asked["Period"], within + timedelta(minutes=5)
    multiple = 60 if age < timedelta(days=15) else 300 if age < timedelta(days=63) else 3600
    assert period % multiple == 0
    # The start is rounded down to that multiple.
    span = (asked["EndTime"] - asked["StartTime"]).total_seconds()
    assert math.ceil((span + multiple) / period) + 1 <= 1440
    if within < timedelta(days=1):
        assert period == 60


def test_the_last_use_is_the_end_of_its_period(stubbed: Any) -> None:
    """Else an endpoint would be looked at every second until a coarse period is over."""
    at = datetime(2026, 2, 1, tzinfo=UTC)
    stubbed.answers("cloudwatch", "get_metric_statistics", {"Datapoints": [{"Timestamp": at, "Sum": 1.0}]})
    last = idle.last_used("lexline", timedelta(days=30))
    assert last == at + timedelta(seconds=stubbed.parameters["GetMetricStatistics"]["Period"])
