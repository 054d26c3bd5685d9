"""CloudWatch in the local cloud: metrics that are put, logged and made, and the alarms on them."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def namespace() -> str:
    return f"Lexline/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def put(client: Callable[..., Any], namespace: str) -> Callable[..., None]:
    """put(value, seconds ago, dimension=value): a datum of the metric Errors."""

    def datum(value: float, ago: float = 0, **dimensions: str) -> None:
        client("cloudwatch").put_metric_data(
            Namespace=namespace,
            MetricData=[
                {
                    "MetricName": "Errors",
                    "Value": value,
                    "Timestamp": datetime.now(UTC) - timedelta(seconds=ago),
                    "Dimensions": named(dimensions),
                }
            ],
        )

    return datum


def named(dimensions: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


@pytest.fixture
def alarm(client: Callable[..., Any], namespace: str) -> Iterator[Callable[..., str]]:
    """alarm(dimensions, ...): an alarm on any Errors in ten seconds; its name. Deleted with the test."""
    cloudwatch, made = client("cloudwatch"), []

    def make(dimensions: dict[str, str], **more: Any) -> str:
        made.append(f"alarm-{uuid.uuid4().hex[:12]}")
        request = {
            "AlarmName": made[-1],
            "Namespace": namespace,
            "MetricName": "Errors",
            "Dimensions": named(dimensions),
            "Statistic": "Sum",
            "Period": 10,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 0,
        }
        cloudwatch.put_metric_alarm(**{**request, **more})
        return made[-1]

    yield make
    cloudwatch.delete_alarms(AlarmNames=made)


@pytest.fixture
def state(client: Callable[..., Any]) -> Callable[[str], str]:
    def look(name: str) -> str:
        return str(client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])

    return look


# --- alarms ---


def test_an_alarm_goes_off_for_its_own_dimensions_and_calms_down(
    lab: Any, client: Any, until: Any, alarm: Any, put: Any, state: Any
) -> None:
    topic, queue = lab.topic()
    mine = alarm({"Endpoint": "mine"}, TreatMissingData="notBreaching", AlarmActions=[topic])
    others = alarm({"Endpoint": "others"}, TreatMissingData="notBreaching")
    put(1, Endpoint="mine")
    until(lambda: state(mine) == "ALARM", "the alarm")
    found = until(
        lambda: client("sqs").receive_message(QueueUrl=queue).get("Messages"), "the alarm's message"
    )
    message = json.loads(json.loads(found[0]["Body"])["Message"])
    assert (message["AlarmName"], message["NewStateValue"]) == (mine, "ALARM")
    # Nothing more is put.
    until(lambda: state(mine) == "OK", "the alarm to calm down")
    assert state(others) == "OK"


@pytest.mark.parametrize(("errors", "expected"), [([1, 0, 0], "OK"), ([1, 0, 1], "ALARM")])
def test_an_alarm_counts_the_periods_that_breach(
    until: Any, alarm: Any, put: Any, state: Any, errors: list[float], expected: str
) -> None:
    # Whole minutes, so that the last of the three is not over before the alarm was looked at.
    for ago, value in zip((120, 60, 0), errors, strict=True):
        put(value, ago, Endpoint="mine")
    name = alarm({"Endpoint": "mine"}, Period=60, EvaluationPeriods=3, DatapointsToAlarm=2)
    until(lambda: state(name) == expected, "the alarm's state")


def test_what_no_data_means_is_the_alarms_to_say(client: Any, until: Any, alarm: Any, state: Any) -> None:
    meant = {"breaching": "ALARM", "notBreaching": "OK", "missing": "INSUFFICIENT_DATA", "ignore": "ALARM"}
    names = {missing: alarm({"Endpoint": "silent"}, TreatMissingData=missing) for missing in meant}
    forced = {"breaching": "OK", "notBreaching": "ALARM", "missing": "ALARM", "ignore": "ALARM"}
    for missing, value in forced.items():
        client("cloudwatch").set_alarm_state(AlarmName=names[missing], StateValue=value, StateReason="a test")
    time.sleep(2)
    assert {missing: state(name) for missing, name in names.items()} == forced
    until(lambda: {missing: state(name) for missing, name in names.items()} == meant, "the alarms' states")


def test_alarms_are_described_to_who_may_see_them(lab: Any, alarm: Any) -> None:
    name = alarm({})
    allowed = {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"}
    described = lab.client_as("cloudwatch", allowed).describe_alarms(AlarmNames=[name])
    assert [one["AlarmName"] for one in described["MetricAlarms"]] == [name]
    with pytest.raises(ClientError, match="not authorized to perform: cloudwatch:DescribeAlarms"):
        lab.client_as("cloudwatch").describe_alarms(AlarmNames=[name])


# --- metrics ---


def total(client: Callable[..., Any], namespace: str, metric: str, **dimensions: str) -> float:
    """The sum of a metric over the last minutes, which both operations that read metrics agree on."""
    now = datetime.now(UTC)
    span = {"StartTime": now - timedelta(minutes=10), "EndTime": now + timedelta(minutes=1)}
    of = {"Namespace": namespace, "MetricName": metric, "Dimensions": named(dimensions)}
    datapoints = client("cloudwatch").get_metric_statistics(**of, **span, Period=60, Statistics=["Sum"])
    query = {"Id": "sum", "MetricStat": {"Metric": of, "Period": 60, "Stat": "Sum"}}
    results = client("cloudwatch").get_metric_data(MetricDataQueries=[query], **span)["MetricDataResults"]
    summed = sum(point["Sum"] for point in datapoints["Datapoints"])
    assert summed == sum(results[0]["Values"])
    return float(summed)


def test_what_is_put_is_there_to_read(client: Any, put: Any, namespace: str) -> None:
    put(1, Endpoint="mine")
    put(2, ago=120, Endpoint="mine")
    put(4, Endpoint="others")
    assert total(client, namespace, "Errors", Endpoint="mine") == 3


def test_what_powertools_logs_is_a_metric(lab: Any, client: Any, namespace: str) -> None:
    function = lab.function(
        """
        from aws_lambda_powertools import Metrics
        metrics = Metrics()

        @metrics.log_metrics
        def handler(event, context):
            metrics.add_dimension(name="dataset", value="sotu")
            metrics.add_metric(name="Cost", unit="None", value=0.5)
            metrics.add_metric(name="Cost", unit="None", value=0.25)
        """,
        Environment={
            "Variables": {"POWERTOOLS_SERVICE_NAME": "lexline", "POWERTOOLS_METRICS_NAMESPACE": namespace}
        },
    )
    client("lambda").invoke(FunctionName=function)
    assert total(client, namespace, "Cost", service="lexline", dataset="sotu") == 0.75


def test_the_executions_of_a_machine_are_counted(lab: Any, client: Any) -> None:
    states = {
        "End": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.fail %}", "Next": "Fail"}],
            "Default": "Succeed",
        },
        "Fail": {"Type": "Fail"},
        "Succeed": {"Type": "Succeed"},
    }
    machine = lab.machine({"StartAt": "End", "States": states})
    for fail in (True, True, False):
        lab.run(machine, {"fail": fail})
    counted = {
        name: total(client, "AWS/States", f"Executions{name}", StateMachineArn=machine)
        for name in ("Started", "Failed", "Succeeded", "Aborted", "TimedOut")
    }
    assert counted == {"Started": 3, "Failed": 2, "Succeeded": 1, "Aborted": 0, "TimedOut": 0}
