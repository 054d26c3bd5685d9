"""Events that are lost, doubled, late or early, as the target of a rule receives them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.harness.client import Faults
from tests.faults.harness.sagemaker_user import SageMakerUser, create_machine
from tests.queues import Queue
from tests.waiting import DEADLINE, wait_until


class Inbox:
    """The events of SageMaker, S3 and Step Functions since its creation."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._events = client("events")
        self._queue = Queue(client)
        self._name = self._queue.name
        pattern = {"source": ["aws.sagemaker", "aws.s3", "aws.states"]}
        self._events.put_rule(Name=self._name, EventPattern=json.dumps(pattern))
        self._events.put_targets(Rule=self._name, Targets=[{"Id": "inbox", "Arn": self._queue.arn}])

    def details(self) -> list[dict[str, Any]]:
        """Return the detail of every event; of an object's event with the members of the object."""
        details = [event["detail"] for event in self._queue.receive()]
        return [{**detail, **detail.get("object", {})} for detail in details]

    def count(self, **members: str) -> int:
        """Return how many events have these members in their detail."""
        return sum(
            all(detail.get(name) == value for name, value in members.items()) for detail in self.details()
        )

    def wait_for(self, number: int = 1, /, **members: str) -> None:
        """Wait until so many of these events have arrived."""
        wait_until(lambda: self.count(**members) >= number, f"{number} events with {members}")

    def delete(self) -> None:
        """Delete the rule and the queue."""
        self._events.remove_targets(Rule=self._name, Ids=["inbox"])
        self._events.delete_rule(Name=self._name)
        self._queue.delete()


@pytest.fixture
def inbox(client: Callable[[str], Any], faults: Faults) -> Iterator[Inbox]:
    """An inbox that receives the events of the test."""
    inbox = Inbox(client)
    yield inbox
    inbox.delete()


def test_only_the_event_of_a_jobs_end_is_lost(faults: Faults, user: SageMakerUser, inbox: Inbox) -> None:
    faults.event("training-job", "lost", name="a-")
    for name in ("a-job", "b-job"):
        user.run_job(name)
    inbox.wait_for(TrainingJobName="b-job", TrainingJobStatus="Completed")
    inbox.wait_for(TrainingJobName="a-job", SecondaryStatus="Training")
    assert inbox.count(TrainingJobName="a-job", TrainingJobStatus="Completed") == 0
    assert faults.unused() == []


def test_a_jobs_event_is_doubled(faults: Faults, user: SageMakerUser, inbox: Inbox) -> None:
    faults.event("training-job", "doubled")
    user.run_job("a")
    user.run_job("b")
    inbox.wait_for(2, TrainingJobName="a", TrainingJobStatus="Completed")
    inbox.wait_for(TrainingJobName="b", TrainingJobStatus="Completed")
    assert inbox.count(TrainingJobName="b", TrainingJobStatus="Completed") == 1


def test_the_event_of_another_status_is_late(faults: Faults, user: SageMakerUser, inbox: Inbox) -> None:
    faults.event("endpoint", "late", status="Creating", seconds=DEADLINE)
    user.create_endpoint(user.create_config("model"))
    inbox.wait_for(EndpointName="endpoint", EndpointStatus="IN_SERVICE")
    assert inbox.count(EndpointName="endpoint", EndpointStatus="CREATING") == 0
    faults.end_delays()
    inbox.wait_for(EndpointName="endpoint", EndpointStatus="CREATING")


def test_an_early_event_of_a_job_comes_before_its_change(
    faults: Faults, user: SageMakerUser, inbox: Inbox
) -> None:
    faults.event("training-job", "early", seconds=DEADLINE)
    user.start_job("job")
    inbox.wait_for(TrainingJobName="job", TrainingJobStatus="Completed")
    described = user.describe_job("job")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("InProgress", "Uploading")
    assert "ModelArtifacts" not in described
    faults.end_delays()
    assert user.wait_for_job("job")["TrainingJobStatus"] == "Completed"


def test_an_early_event_of_an_update_comes_before_its_change(
    faults: Faults, user: SageMakerUser, inbox: Inbox
) -> None:
    user.create_endpoint(user.create_config("model-a"))
    user.create_config("model-b")
    faults.event("endpoint", "early", seconds=DEADLINE)
    user.api.update_endpoint(EndpointName="endpoint", EndpointConfigName="model-b")
    inbox.wait_for(EndpointConfigName="model-b", EndpointStatus="IN_SERVICE")
    described = user.describe_endpoint()
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", "model-a")
    faults.end_delays()
    assert user.wait_for_endpoint()["EndpointConfigName"] == "model-b"


def test_an_uploads_event_is_lost_doubled_or_late(faults: Faults, user: SageMakerUser, inbox: Inbox) -> None:
    user.s3.put_bucket_notification_configuration(
        Bucket=user.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    faults.event("upload", "lost", name="a/")
    faults.event("upload", "doubled", name="b/")
    faults.event("upload", "late", name="c/", seconds=DEADLINE)
    for dataset in "cabd":
        user.s3.put_object(Bucket=user.bucket, Key=f"uploads/{dataset}/file.txt", Body=b"text")
    inbox.wait_for(key="uploads/d/file.txt")
    inbox.wait_for(2, key="uploads/b/file.txt")
    assert inbox.count(key="uploads/a/file.txt") == inbox.count(key="uploads/c/file.txt") == 0
    faults.end_delays()
    inbox.wait_for(key="uploads/c/file.txt")


def test_an_executions_event_is_lost_or_early(
    faults: Faults, inbox: Inbox, client: Callable[[str], Any]
) -> None:
    states = client("stepfunctions")
    machine = create_machine(client, {"Type": "Pass"})
    faults.event("execution", "lost", name="a")
    faults.event("execution", "early", name="b", seconds=DEADLINE)
    lost, early = (
        states.start_execution(stateMachineArn=machine, name=name)["executionArn"] for name in ("a", "b")
    )

    def status(execution: str) -> str:
        return str(states.describe_execution(executionArn=execution)["status"])

    inbox.wait_for(name="b", status="SUCCEEDED")
    wait_until(lambda: status(lost) == "SUCCEEDED", "the end of the execution")
    assert inbox.count(name="a", status="SUCCEEDED") == 0
    assert status(early) == "RUNNING"
    assert "output" not in states.describe_execution(executionArn=early)
    faults.end_delays()
    assert status(early) == "SUCCEEDED"


def test_an_uploads_event_cannot_be_early(faults: Faults) -> None:
    with pytest.raises(ValueError, match="cannot be early"):
        faults.event("upload", "early")
