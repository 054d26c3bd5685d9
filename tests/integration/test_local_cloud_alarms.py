"""CloudWatch's alarms on the running local cloud: which data they see, and what state it puts them in."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Alarm:
    """An alarm on a metric of its own: in ALARM where the sum of a minute is 5 or more."""

    def __init__(self, cloudwatch: Any, **parameters: Any) -> None:
        self.cloudwatch = cloudwatch
        self.name = f"alarm-{uuid.uuid4().hex[:12]}"
        self.metric = {"Namespace": "Tests", "MetricName": self.name}
        self.cloudwatch.put_metric_alarm(
            AlarmName=self.name,
            **self.metric,
            **{
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 5,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "Dimensions": dimensions("mine"),
            }
            | parameters,
        )

    def put(self, value: float, *, ago: float = 0.0, of: str = "mine", unit: str = "None") -> None:
        datum = {
            "MetricName": self.name,
            "Dimensions": dimensions(of),
            "Value": value,
            "Unit": unit,
            "Timestamp": time.time() - ago,
        }
        self.cloudwatch.put_metric_data(Namespace="Tests", MetricData=[datum])

    @property
    def state(self) -> str:
        (alarm,) = self.cloudwatch.describe_alarms(AlarmNames=[self.name])["MetricAlarms"]
        return str(alarm["StateValue"])


def dimensions(endpoint: str) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": endpoint}]


@pytest.fixture
def make(client: Callable[..., Any]) -> Iterator[Callable[..., Alarm]]:
    """make(**parameters): an alarm of a metric of its own, deleted afterwards."""
    made: list[Alarm] = []

    def make(**parameters: Any) -> Alarm:
        made.append(Alarm(client("cloudwatch"), **parameters))
        return made[-1]

    yield make
    client("cloudwatch").delete_alarms(AlarmNames=[alarm.name for alarm in made])


def test_an_alarm_sees_the_metric_with_its_own_dimensions_only(make: Callable[..., Alarm]) -> None:
    alarm = make()
    alarm.put(50, of="another")
    assert alarm.state == "INSUFFICIENT_DATA"
    alarm.put(1)
    assert alarm.state == "OK"
    alarm.put(4)
    assert alarm.state == "ALARM"


def test_an_alarm_with_a_unit_sees_no_other(make: Callable[..., Alarm]) -> None:
    alarm = make(Unit="Count")
    alarm.put(50, unit="Seconds")
    assert alarm.state == "INSUFFICIENT_DATA"
    alarm.put(50, unit="Count")
    assert alarm.state == "ALARM"


def test_each_period_is_looked_at_by_itself(make: Callable[..., Alarm]) -> None:
    alarm = make(EvaluationPeriods=3, DatapointsToAlarm=2)
    for ago in (150, 90, 30):
        alarm.put(3, ago=ago)
    assert alarm.state == "OK"
    alarm.put(3, ago=90)
    assert alarm.state == "OK"
    alarm.put(3, ago=30)
    assert alarm.state == "ALARM"


@pytest.mark.parametrize(
    ("treatment", "empty", "one_of_two"),
    [
        ("missing", "INSUFFICIENT_DATA", "ALARM"),
        ("notBreaching", "OK", "OK"),
        ("breaching", "ALARM", "ALARM"),
        ("ignore", "INSUFFICIENT_DATA", "INSUFFICIENT_DATA"),
    ],
)
def test_missing_data_is_what_the_alarm_says_it_is(
    make: Callable[..., Alarm], treatment: str, empty: str, one_of_two: str
) -> None:
    alarm = make(EvaluationPeriods=2, TreatMissingData=treatment)
    assert alarm.state == empty
    alarm.put(9)
    assert alarm.state == one_of_two


@pytest.mark.parametrize(
    ("comparison", "states"),
    [
        ("GreaterThanThreshold", ["OK", "OK", "ALARM"]),
        ("LessThanThreshold", ["ALARM", "OK", "OK"]),
        ("LessThanOrEqualToThreshold", ["ALARM", "ALARM", "OK"]),
    ],
)
def test_thresholds_are_compared_as_asked(
    make: Callable[..., Alarm], comparison: str, states: list[str]
) -> None:
    alarm = make(ComparisonOperator=comparison)
    seen = []
    for value in (4, 1, 1):
        alarm.put(value)
        seen.append(alarm.state)
    assert seen == states


def test_a_percentile_can_be_watched(make: Callable[..., Alarm]) -> None:
    alarm = make(Statistic="SampleCount")
    parameters = {"AlarmName": alarm.name, "ExtendedStatistic": "p90", "Period": 60, "EvaluationPeriods": 1}
    comparison = {"Threshold": 5, "ComparisonOperator": "GreaterThanThreshold"}
    alarm.cloudwatch.put_metric_alarm(
        **alarm.metric, **parameters, **comparison, Dimensions=dimensions("mine")
    )
    for value in range(10):
        alarm.put(value / 2)
    assert alarm.state == "OK"
    for _ in range(3):
        alarm.put(20)
    assert alarm.state == "ALARM"


def test_time_alone_ends_an_alarm(make: Callable[..., Alarm], until: Callable[..., Any]) -> None:
    alarm = make(TreatMissingData="notBreaching", Period=10)
    alarm.put(9, ago=7)
    assert alarm.state == "ALARM"
    until(lambda: alarm.state == "OK", "the alarm to end")


def test_an_alarm_set_by_hand_stays_for_a_while(make: Callable[..., Alarm]) -> None:
    alarm = make()
    alarm.put(1)
    alarm.cloudwatch.set_alarm_state(AlarmName=alarm.name, StateValue="ALARM", StateReason="a test")
    alarm.put(1)
    assert alarm.state == "ALARM"
    alarm.cloudwatch.set_alarm_state(AlarmName=alarm.name, StateValue="OK", StateReason="a test")
    alarm.put(9)
    assert alarm.state == "ALARM"


def test_a_change_of_state_is_in_the_history_once_and_told(
    make: Callable[..., Alarm], client: Callable[..., Any], until: Callable[..., Any]
) -> None:
    name = f"alarms-{uuid.uuid4().hex[:8]}"
    topic = client("sns").create_topic(Name=name)["TopicArn"]
    arn = topic.replace(":sns:", ":sqs:")
    statement = {"Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    made = client("sqs").create_queue(QueueName=name, Attributes={"Policy": json.dumps(policy)})
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    alarm = make(AlarmActions=[topic])
    for _ in range(3):
        alarm.put(9)
        assert alarm.state == "ALARM"
    history = alarm.cloudwatch.describe_alarm_history(AlarmName=alarm.name, HistoryItemType="StateUpdate")
    summaries = [item["HistorySummary"] for item in history["AlarmHistoryItems"]]
    assert summaries.count("Alarm updated from INSUFFICIENT_DATA to ALARM") == 1
    messages = until(
        lambda: (
            client("sqs").receive_message(QueueUrl=made["QueueUrl"], MaxNumberOfMessages=10).get("Messages")
        ),
        "the alarm's message",
    )
    assert len(messages) == 1
    assert alarm.name in messages[0]["Body"]
