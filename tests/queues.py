"""Queues that collect messages and events for a test."""

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tests.waiting import wait_until


class Queue:
    """An SQS queue. It reads each message once and keeps the decoded bodies in `received`."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        """Create a queue that SNS and EventBridge may send to. `client(service)` returns a boto3 client."""
        self._client = client
        self._sqs = client("sqs")
        self.received: list[dict[str, Any]] = []
        self.name = f"queue-{uuid.uuid4().hex[:12]}"
        self.url = str(self._sqs.create_queue(QueueName=self.name)["QueueUrl"])
        described = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn = str(described["Attributes"]["QueueArn"])
        send = {
            "Effect": "Allow",
            "Principal": {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [send]})
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def subscribe(self, topic: str, filter_policy: Mapping[str, list[str]] | None = None) -> str:
        """Subscribe the queue to a topic, and return the subscription's ARN."""
        attributes = {"FilterPolicy": json.dumps(filter_policy)} if filter_policy else {}
        subscription = self._client("sns").subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=self.arn,
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )
        return str(subscription["SubscriptionArn"])

    def receive(self) -> list[dict[str, Any]]:
        """Read the messages that have arrived, and return all messages so far."""
        received = self._sqs.receive_message
        while messages := received(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.received.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return self.received

    def wait_for(self, number: int) -> list[dict[str, Any]]:
        """Wait until so many messages have arrived, and return all messages so far."""
        wait_until(lambda: len(self.receive()) >= number, lambda: f"{number} messages: {self.received}")
        return self.received

    def delete(self) -> None:
        """Delete the queue."""
        self._sqs.delete_queue(QueueUrl=self.url)
