"""CloudWatch: alarms, and metrics from requests, from log lines and from Step Functions."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.lab import Lab, allow, unique
from tests.waiting import wait_until

HOUR = 3600

Create = Callable[..., str]
Put = Callable[..., None]
State = Callable[[str], str]


@pytest.fixture
def namespace() -> str:
    return f"Lexline/{unique('namespace')}"


@pytest.fixture
def put(lab: Lab, namespace: str) -> Put:
    """put(value, time, name=value): a value of the metric Errors with this dimension."""

    def put_datum(value: float, time: datetime | None = None, **dimensions: str) -> None:
        datum = {"MetricName": "Errors", "Value": value, "Dimensions": named(dimensions)}
        datum["Timestamp"] = time or datetime.now(UTC)
        lab.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])

    return put_datum


def named(dimensions: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


@pytest.fixture
def alarm(lab: Lab, namespace: str) -> Iterator[Create]:
    """alarm(dimensions, ...): the name of an alarm on any Errors in ten seconds."""
    cloudwatch, names = lab.client("cloudwatch"), []

    def create(dimensions: dict[str, str], **more: Any) -> str:
        names.append(unique("alarm"))
        request = {
            "AlarmName": names[-1],
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
        return names[-1]

    yield create
    cloudwatch.delete_alarms(AlarmNames=names)


@pytest.fixture
def state(lab: Lab) -> State:
    """state(name): an alarm's state."""
    cloudwatch = lab.client("cloudwatch")
    return lambda name: str(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])


# --- alarms ---


def test_an_alarm_watches_its_own_dimensions_and_recovers(
    lab: Lab, alarm: Create, put: Put, state: State
) -> None:
    topic, queue = lab.topic()
    mine = alarm({"Endpoint": "mine"}, TreatMissingData="notBreaching", AlarmActions=[topic])
    other = alarm({"Endpoint": "other"}, TreatMissingData="notBreaching", AlarmActions=[topic])
    put(1, Endpoint="mine")
    message = lab.receive(queue)["Message"]
    assert f'"{mine}"' in message
    assert '"NewStateValue": "ALARM"' in message
    # No further value follows.
    wait_until(lambda: (state(mine), state(other)) == ("OK", "OK"), "the alarm to recover")
    assert lab.count(queue) == 0


@pytest.mark.parametrize(("errors", "expected"), [([1, 0, 0], "OK"), ([1, 0, 1], "ALARM")])
def test_an_alarm_counts_the_periods_that_breach(
    alarm: Create, put: Put, state: State, errors: list[float], expected: str
) -> None:
    # The periods are hours, so that the alarm is evaluated before the last of them is too old.
    now = datetime.now(UTC)
    for hours, value in zip((2, 1, 0), errors, strict=True):
        put(value, now - timedelta(hours=hours), Endpoint="mine")
    name = alarm({"Endpoint": "mine"}, Period=HOUR, EvaluationPeriods=3, DatapointsToAlarm=2)
    wait_until(lambda: state(name) == expected, "the alarm's state")


def test_each_alarm_says_how_missing_data_counts(lab: Lab, alarm: Create, state: State) -> None:
    before = {"breaching": "OK", "notBreaching": "ALARM", "missing": "ALARM", "ignore": "ALARM"}
    after = {"breaching": "ALARM", "notBreaching": "OK", "missing": "INSUFFICIENT_DATA", "ignore": "ALARM"}
    names = {missing: alarm({"Endpoint": "silent"}, TreatMissingData=missing) for missing in before}
    for missing, value in before.items():
        lab.client("cloudwatch").set_alarm_state(
            AlarmName=names[missing], StateValue=value, StateReason="a test"
        )
    wait_until(lambda: {missing: state(name) for missing, name in names.items()} == after, "the states")


def test_only_a_caller_who_may_describe_alarms_sees_them(lab: Lab, alarm: Create) -> None:
    name = alarm({})
    reader = lab.client_as("cloudwatch", allow("cloudwatch:DescribeAlarms"))
    described = reader.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert [one["AlarmName"] for one in described] == [name]
    with pytest.raises(ClientError, match="not authorized to perform: cloudwatch:DescribeAlarms"):
        lab.client_as("cloudwatch").describe_alarms(AlarmNames=[name])


# --- metrics ---


def total(lab: Lab, namespace: str, metric: str, **dimensions: str) -> float:
    """The sum of a metric over the last hours. Both operations that read metrics must agree on it."""
    cloudwatch, now = lab.client("cloudwatch"), datetime.now(UTC)
    span = {"StartTime": now - timedelta(hours=3), "EndTime": now + timedelta(hours=1)}
    series = {"Namespace": namespace, "MetricName": metric, "Dimensions": named(dimensions)}
    points = cloudwatch.get_metric_statistics(**series, **span, Period=60, Statistics=["Sum"])["Datapoints"]
    query = {"Id": "sum", "MetricStat": {"Metric": series, "Period": 60, "Stat": "Sum"}}
    results = cloudwatch.get_metric_data(MetricDataQueries=[query], **span)["MetricDataResults"]
    summed = sum(point["Sum"] for point in points)
    assert summed == sum(results[0]["Values"])
    return float(summed)


def test_metrics_can_be_read(lab: Lab, put: Put, namespace: str) -> None:
    put(1, Endpoint="mine")
    put(2, datetime.now(UTC) - timedelta(minutes=2), Endpoint="mine")
    put(4, Endpoint="other")
    assert total(lab, namespace, "Errors", Endpoint="mine") == 3


def test_powertools_metrics_are_read_from_the_log(lab: Lab, namespace: str) -> None:
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
    lab.invoke(function)
    assert total(lab, namespace, "Cost", service="lexline", dataset="sotu") == 0.75


def test_a_state_machines_executions_are_counted(lab: Lab) -> None:
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
    expected = {"Started": 3, "Failed": 2, "Succeeded": 1, "Aborted": 0, "TimedOut": 0}

    def counted() -> bool:
        return expected == {
            name: total(lab, "AWS/States", f"Executions{name}", StateMachineArn=machine) for name in expected
        }

    # An execution's status changes before its metrics.
    wait_until(counted, "every execution to be counted")
