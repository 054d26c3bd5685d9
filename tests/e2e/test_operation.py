"""What goes wrong reaches people: alarms by the results topic, events that a function fails on by a queue."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack import DeployedStack

ALARM = "lexline-api-errors"


@pytest.fixture
def mailbox(stack: DeployedStack) -> Iterator[str]:
    """The URL of a queue that gets what the results topic tells of alarms."""
    sqs, sns = stack.cloud.client("sqs"), stack.cloud.client("sns")
    url = str(sqs.create_queue(QueueName="mailbox")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": stack.outputs["TopicArn"]}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    subscribed = sns.subscribe(
        TopicArn=stack.outputs["TopicArn"],
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"FilterPolicy": json.dumps({"event": ["alarm"]})},
    )
    yield url
    sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    sqs.delete_queue(QueueUrl=url)


def next_message(stack: DeployedStack, queue: str, seconds: float = 240) -> dict[str, Any]:
    """The next message of a queue, parsed and removed from it."""
    sqs, deadline = stack.cloud.client("sqs"), time.monotonic() + seconds
    while not (messages := sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages")):
        assert time.monotonic() < deadline, "no message came"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=messages[0]["ReceiptHandle"])
    parsed: dict[str, Any] = json.loads(messages[0]["Body"])
    return parsed


def test_an_alarm_that_goes_off_is_told_of_on_the_topic(stack: DeployedStack, mailbox: str) -> None:
    cloudwatch = stack.cloud.client("cloudwatch")
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason=f"It is {state}.")
    told = next_message(stack, mailbox)
    assert told["Subject"] == f"Lexline: {ALARM} alarm"
    assert told["Message"].startswith(f"Alarm {ALARM}: The API fails to answer")
    assert "It is ALARM." in told["Message"]
    assert told["MessageAttributes"]["event"]["Value"] == "alarm"
    cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue="OK", StateReason="It was a test.")


def test_an_event_that_a_function_fails_on_three_times_is_put_aside(stack: DeployedStack) -> None:
    event = {"resources": []}
    functions = stack.cloud.client("lambda")
    functions.invoke(
        FunctionName="lexline-callback", InvocationType="Event", Payload=json.dumps(event).encode()
    )
    aside = next_message(stack, stack.resources()["FailedEvents"])
    assert aside["requestPayload"] == event
    assert aside["requestContext"]["approximateInvokeCount"] == 3
    assert aside["responsePayload"]["errorType"] == "InvalidInput"
