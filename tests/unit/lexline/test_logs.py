from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from lexline import logs
from lexline.errors import UserError
from lexline.runs import Run
from lexline.target import Target
from tests.unit.lexline.conftest import EXECUTION, MACHINE

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, tzinfo=UTC)
RUN = Run(EXECUTION + "one", "RUNNING", WHEN, None)
JOB = f"lexline-sotu-{RUN.id}"


def status(machine: Stubber, value: str) -> None:
    machine.add_response(
        "describe_execution",
        {"executionArn": RUN.arn, "stateMachineArn": MACHINE, "status": value, "startDate": WHEN},
    )


def jobs(sagemaker: Stubber, *names: str) -> None:
    summaries = [
        {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}",
            "CreationTime": WHEN,
            "TrainingJobStatus": "InProgress",
        }
        for name in names
    ]
    sagemaker.add_response(
        "list_training_jobs", {"TrainingJobSummaries": summaries}, {"NameContains": RUN.id}
    )


def test_following_a_run_that_has_not_trained_yet_waits_for_its_job(target: Target, stub: Stub) -> None:
    machine, sagemaker = stub(target.stepfunctions), stub(target.sagemaker)
    for names in ((), (JOB,)):
        status(machine, "RUNNING")
        jobs(sagemaker, *names)
    assert len(logs.of_training(target, RUN, wait=True, sleep=lambda seconds: None)) == 1


@pytest.mark.parametrize(
    ("state", "wait", "words"),
    [("FAILED", True, "ended before it trained"), ("RUNNING", False, "has not begun to train")],
)
def test_a_run_without_a_training_job_says_so(
    target: Target, stub: Stub, state: str, wait: bool, words: str
) -> None:
    status(stub(target.stepfunctions), state)
    jobs(stub(target.sagemaker))
    with pytest.raises(UserError, match=words):
        logs.of_training(target, RUN, wait=wait)


def test_each_function_of_the_stack_has_its_own_label(target: Target, stub: Stub) -> None:
    resources = [
        {
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "LastUpdatedTimestamp": WHEN,
            "ResourceStatus": "CREATE_COMPLETE",
        }
        for logical, physical, kind in (
            ("PlanFunction", "lexline-plan", "AWS::Lambda::Function"),
            ("Bucket", "lexline-bucket", "AWS::S3::Bucket"),
        )
    ]
    stub(target.cloudformation).add_response(
        "list_stack_resources", {"StackResourceSummaries": resources}, {"StackName": "lexline"}
    )
    assert [each.label for each in logs.of_functions(target)] == ["Plan"]
