"""Events that are lost, doubled, late or early, as a rule's target gets them."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.byhand import DEADLINE, ByHand, machine
from tests.faults.plan import Faults

LONG = 600.0
"""Seconds that no test waits for: when it has looked, it lets the cloud catch up."""
SOURCES = ["aws.sagemaker", "aws.s3", "aws.states"]
PASSES = {"Type": "Pass"}


class Inbox:
    """The details of all events since it was made, of SageMaker, S3 (with the key) and Step Functions."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self.read: list[dict[str, Any]] = []
        self._queues, self._events = client("sqs"), client("events")
        self._name = f"inbox-{uuid.uuid4().hex[:12]}"
        self._url = self._queues.create_queue(QueueName=self._name)["QueueUrl"]
        attributes = self._queues.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        self._events.put_rule(Name=self._name, EventPattern=json.dumps({"source": SOURCES}))
        target = {"Id": "inbox", "Arn": attributes["Attributes"]["QueueArn"]}
        self._events.put_targets(Rule=self._name, Targets=[target])

    def told(self, **detail: str) -> int:
        """How many events have come so far whose detail has these members."""
        while messages := self._queues.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                read = json.loads(message["Body"])["detail"]
                self.read.append({**read, **read.get("object", {})})
                self._queues.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return sum(all(read.get(name) == value for name, value in detail.items()) for read in self.read)

    def wait(self, times: int = 1, /, **detail: str) -> None:
        """Wait until so many of them have come."""
        end = time.monotonic() + DEADLINE
        while self.told(**detail) < times:
            assert time.monotonic() < end, f"no event {detail}"
            time.sleep(0.03)

    def close(self) -> None:
        self._events.remove_targets(Rule=self._name, Ids=["inbox"])
        self._events.delete_rule(Name=self._name)
        self._queues.delete_queue(QueueUrl=self._url)


@pytest.fixture
def inbox(client: Callable[[str], Any], faults: Faults) -> Iterator[Inbox]:
    inbox = Inbox(client)
    yield inbox
    inbox.close()


def test_a_jobs_event_is_lost_and_only_that_of_its_end(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    faults.event("training-job", "lost", name="a-")
    for name in ("a-job", "b-job"):
        byhand.trained(name)
    inbox.wait(TrainingJobName="b-job", TrainingJobStatus="Completed")
    assert inbox.told(TrainingJobName="a-job", SecondaryStatus="Training") == 1
    assert inbox.told(TrainingJobName="a-job", TrainingJobStatus="Completed") == 0
    assert faults.unused() == []


def test_a_jobs_event_comes_twice(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    faults.event("training-job", "doubled")
    byhand.trained("a")
    byhand.trained("b")
    inbox.wait(TrainingJobName="b", TrainingJobStatus="Completed")
    assert inbox.told(TrainingJobName="a", TrainingJobStatus="Completed") == 2
    assert inbox.told(TrainingJobName="b", TrainingJobStatus="Completed") == 1


def test_an_event_of_another_status_comes_late(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    faults.event("endpoint", "late", status="Creating", seconds=LONG)
    byhand.served("endpoint", byhand.config("model"))
    inbox.wait(EndpointName="endpoint", EndpointStatus="IN_SERVICE")
    assert inbox.told(EndpointName="endpoint", EndpointStatus="CREATING") == 0
    faults.catch_up()
    inbox.wait(EndpointName="endpoint", EndpointStatus="CREATING")


def test_a_late_event_comes_after_its_time(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    faults.event("endpoint", "late", status="Creating", seconds=0.5)
    began = time.monotonic()
    byhand.served("endpoint", byhand.config("model"))
    inbox.wait(EndpointName="endpoint", EndpointStatus="CREATING")
    assert time.monotonic() - began >= 0.5
    assert inbox.told(EndpointName="endpoint", EndpointStatus="CREATING") == 1


def test_an_early_event_comes_before_the_change_is_seen(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    faults.event("training-job", "early", seconds=LONG)
    byhand.api.create_training_job(**byhand.training("job"))
    inbox.wait(TrainingJobName="job", TrainingJobStatus="Completed")
    described = byhand.api.describe_training_job(TrainingJobName="job")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("InProgress", "Uploading")
    assert "ModelArtifacts" not in described
    faults.catch_up()
    assert byhand.ended("job")["TrainingJobStatus"] == "Completed"


def test_an_early_event_is_to_be_seen_after_its_time(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    faults.event("training-job", "early", seconds=0.5)
    began = time.monotonic()
    assert byhand.trained("job")["TrainingJobStatus"] == "Completed"
    assert time.monotonic() - began >= 0.5
    assert inbox.told(TrainingJobName="job", TrainingJobStatus="Completed") == 1


def test_an_update_is_announced_before_it_is_seen(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    byhand.served("endpoint", byhand.config("model-a"))
    byhand.config("model-b")
    faults.event("endpoint", "early", seconds=LONG)
    byhand.api.update_endpoint(EndpointName="endpoint", EndpointConfigName="model-b")
    inbox.wait(EndpointName="endpoint", EndpointConfigName="model-b", EndpointStatus="IN_SERVICE")
    described = byhand.api.describe_endpoint(EndpointName="endpoint")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", "model-a")
    faults.catch_up()
    assert byhand.settled("endpoint")["EndpointConfigName"] == "model-b"


def test_an_uploads_event_is_lost_doubled_or_late(faults: Faults, byhand: ByHand, inbox: Inbox) -> None:
    byhand.s3.put_bucket_notification_configuration(
        Bucket=byhand.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    faults.event("upload", "lost", name="a/")
    faults.event("upload", "doubled", name="b/")
    faults.event("upload", "late", name="c/", seconds=LONG)
    for dataset in "cabd":
        byhand.s3.put_object(Bucket=byhand.bucket, Key=f"uploads/{dataset}/file.txt", Body=b"text")
    inbox.wait(key="uploads/d/file.txt")
    inbox.wait(2, key="uploads/b/file.txt")
    faults.catch_up()
    inbox.wait(key="uploads/c/file.txt")
    *told, last = [read["key"][8] for read in inbox.read if "key" in read]
    assert (sorted(told), last) == (["b", "b", "d"], "c")


def test_an_executions_event_is_lost_or_early(
    faults: Faults, inbox: Inbox, client: Callable[[str], Any]
) -> None:
    states = client("stepfunctions")
    passes = machine(client, PASSES)
    faults.event("execution", "lost", name="a")
    faults.event("execution", "early", name="b", seconds=LONG)
    started = [
        states.start_execution(stateMachineArn=passes, name=name)["executionArn"] for name in ("a", "b")
    ]
    inbox.wait(name="b", status="SUCCEEDED")
    assert inbox.told(name="a", status="SUCCEEDED") == 0
    described = [states.describe_execution(executionArn=arn) for arn in started]
    assert [found["status"] for found in described] == ["SUCCEEDED", "RUNNING"]
    assert "output" not in described[1]
    faults.catch_up()
    assert states.describe_execution(executionArn=started[1])["status"] == "SUCCEEDED"


def test_an_upload_cannot_be_told_of_before_it_is_there(faults: Faults) -> None:
    with pytest.raises(ValueError, match="S3 shows"):
        faults.event("upload", "early")
