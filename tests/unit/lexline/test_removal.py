from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from lexline import removal
from lexline.errors import UserError
from lexline.runs import run_id
from lexline.target import Stack, Target
from tests.unit.lexline.conftest import EXECUTION, MACHINE

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, tzinfo=UTC)
ARN = EXECUTION + "one"
MINE = f"lexline-sotu-{run_id(ARN)}"
# The endpoint "lexline-two" of another stack has names that begin like this stack's.
THEIRS = "lexline-two-sotu-ffffffffffff"
SAGEMAKER = "arn:aws:sagemaker:us-east-1:123456789012:"


def executions(*arns: str) -> dict[str, Any]:
    return {
        "executions": [
            {
                "executionArn": arn,
                "stateMachineArn": MACHINE,
                "name": "one",
                "status": "RUNNING",
                "startDate": WHEN,
            }
            for arn in arns
        ]
    }


def endpoint(config: str) -> dict[str, Any]:
    return {
        "EndpointName": "lexline",
        "EndpointArn": f"{SAGEMAKER}endpoint/lexline",
        "EndpointConfigName": config,
        "EndpointStatus": "InService",
        "CreationTime": WHEN,
        "LastModifiedTime": WHEN,
    }


def stopped_job() -> dict[str, Any]:
    return {
        "TrainingJobName": MINE,
        "TrainingJobArn": f"{SAGEMAKER}training-job/{MINE}",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://lexline-bucket/m"},
        "TrainingJobStatus": "Stopped",
        "SecondaryStatus": "Stopped",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"VolumeSizeInGB": 30},
        "StoppingCondition": {},
        "CreationTime": WHEN,
    }


def missing(sagemaker: Stubber) -> None:
    sagemaker.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint", 400)


def model_of(sagemaker: Stubber, name: str, bucket: str) -> None:
    """The answer to whose model that is: its artifact lies in a stack's bucket."""
    container = {"ModelDataUrl": f"s3://{bucket}/runs/{name}/output/model.tar.gz"}
    sagemaker.add_response(
        "describe_model",
        {
            "ModelName": name,
            "ModelArn": f"{SAGEMAKER}model/{name}",
            "CreationTime": WHEN,
            "PrimaryContainer": container,
        },
        {"ModelName": name},
    )


def listings(sagemaker: Stubber) -> None:
    """Everything there is whose name contains "lexline-", ours and theirs, with the deletions of ours."""
    sagemaker.add_response(
        "list_endpoint_configs",
        {
            "EndpointConfigs": [
                {
                    "EndpointConfigName": name,
                    "EndpointConfigArn": f"{SAGEMAKER}c/{name}",
                    "CreationTime": WHEN,
                }
                for name in (THEIRS, MINE)
            ]
        },
        {"NameContains": "lexline-"},
    )
    model_of(sagemaker, THEIRS, "lexline-two-bucket")
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": MINE})
    sagemaker.add_response(
        "list_models",
        {
            "Models": [
                {"ModelName": name, "ModelArn": f"{SAGEMAKER}model/{name}", "CreationTime": WHEN}
                for name in (MINE, THEIRS)
            ]
        },
        {"NameContains": "lexline-"},
    )
    sagemaker.add_response("delete_model", {}, {"ModelName": MINE})
    model_of(sagemaker, THEIRS, "lexline-two-bucket")


def test_only_what_this_stacks_runs_made_is_deleted_and_then_the_stack(
    target: Target, stack: Stack, stub: Stub
) -> None:
    machine, sagemaker = stub(target.stepfunctions), stub(target.sagemaker)
    s3, cloudformation = stub(target.s3), stub(target.cloudformation)
    machine.add_response("list_executions", executions(ARN))
    machine.add_response("list_executions", executions(ARN))
    machine.add_response("stop_execution", {"stopDate": WHEN})
    sagemaker.add_response(
        "list_training_jobs",
        {
            "TrainingJobSummaries": [
                {
                    "TrainingJobName": name,
                    "TrainingJobArn": f"{SAGEMAKER}training-job/{name}",
                    "CreationTime": WHEN,
                    "TrainingJobStatus": "InProgress",
                }
                for name in (THEIRS, MINE)
            ]
        },
        {"NameContains": "lexline-", "StatusEquals": "InProgress"},
    )
    sagemaker.add_response("stop_training_job", {}, {"TrainingJobName": MINE})
    sagemaker.add_response("describe_training_job", stopped_job(), {"TrainingJobName": MINE})
    sagemaker.add_response("describe_endpoint", endpoint(MINE))
    sagemaker.add_response("delete_endpoint", {}, {"EndpointName": "lexline"})
    missing(sagemaker)
    listings(sagemaker)
    s3.add_response(
        "list_object_versions",
        {
            "Versions": [{"Key": "uploads/a", "VersionId": "1"}],
            "DeleteMarkers": [{"Key": "uploads/b", "VersionId": "2"}],
        },
    )
    s3.add_response(
        "delete_objects",
        {},
        {
            "Bucket": "lexline-bucket",
            "Delete": {
                "Objects": [
                    {"Key": "uploads/a", "VersionId": "1"},
                    {"Key": "uploads/b", "VersionId": "2"},
                ],
                "Quiet": True,
            },
        },
    )
    cloudformation.add_response("delete_stack", {}, {"StackName": "lexline"})
    cloudformation.add_client_error("describe_stacks", "ValidationError", "does not exist", 400)
    said: list[str] = []
    removal.remove(target, stack, said.append)
    assert f"Deleting the model {MINE}" in said


@pytest.mark.parametrize("model_bucket", ["lexline-two-bucket", None])
def test_an_endpoint_that_another_stack_or_a_person_deployed_stays(
    target: Target, stack: Stack, stub: Stub, model_bucket: str | None
) -> None:
    machine, sagemaker = stub(target.stepfunctions), stub(target.sagemaker)
    machine.add_response("list_executions", executions())
    machine.add_response("list_executions", executions())
    sagemaker.add_response("list_training_jobs", {"TrainingJobSummaries": []})
    sagemaker.add_response("describe_endpoint", endpoint(THEIRS))
    if model_bucket:
        model_of(sagemaker, THEIRS, model_bucket)
    else:
        sagemaker.add_client_error("describe_model", "ValidationException", 'Could not find model "x".', 400)
    sagemaker.add_response("list_endpoint_configs", {"EndpointConfigs": []})
    sagemaker.add_response("list_models", {"Models": []})
    rest(stub, target)
    removal.remove(target, stack, lambda line: None)


def test_an_endpoint_of_a_run_that_aws_has_forgotten_goes_too(
    target: Target, stack: Stack, stub: Stub
) -> None:
    # Executions are listed for 90 days; an endpoint serves, and costs, for as long as it is there.
    old = "lexline-sotu-0123456789ab"
    machine, sagemaker = stub(target.stepfunctions), stub(target.sagemaker)
    machine.add_response("list_executions", executions())
    machine.add_response("list_executions", executions())
    sagemaker.add_response("list_training_jobs", {"TrainingJobSummaries": []})
    sagemaker.add_response("describe_endpoint", endpoint(old))
    model_of(sagemaker, old, stack.bucket)
    sagemaker.add_response("delete_endpoint", {}, {"EndpointName": "lexline"})
    missing(sagemaker)
    config = {"EndpointConfigName": old, "EndpointConfigArn": f"{SAGEMAKER}c/{old}", "CreationTime": WHEN}
    sagemaker.add_response("list_endpoint_configs", {"EndpointConfigs": [config]})
    model_of(sagemaker, old, stack.bucket)
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": old})
    model = {"ModelName": old, "ModelArn": f"{SAGEMAKER}model/{old}", "CreationTime": WHEN}
    sagemaker.add_response("list_models", {"Models": [model]})
    model_of(sagemaker, old, stack.bucket)
    sagemaker.add_response("delete_model", {}, {"ModelName": old})
    rest(stub, target)
    removal.remove(target, stack, lambda line: None)


def rest(stub: Stub, target: Target) -> None:
    """A bucket that is gone, and a stack that goes."""
    stub(target.s3).add_client_error("list_object_versions", "NoSuchBucket", "gone", 404)
    cloudformation = stub(target.cloudformation)
    cloudformation.add_response("delete_stack", {})
    cloudformation.add_client_error("describe_stacks", "ValidationError", "does not exist", 400)


def test_a_stack_that_cannot_be_deleted_says_which_resource_and_why(target: Target, stub: Stub) -> None:
    cloudformation = stub(target.cloudformation)
    cloudformation.add_response("delete_stack", {})
    failed = {"StackName": "lexline", "CreationTime": WHEN, "StackStatus": "DELETE_FAILED"}
    cloudformation.add_response("describe_stacks", {"Stacks": [failed]})
    cloudformation.add_response(
        "describe_stack_events",
        {
            "StackEvents": [
                {
                    "StackId": "s",
                    "EventId": "e",
                    "StackName": "lexline",
                    "Timestamp": WHEN,
                    "LogicalResourceId": "Bucket",
                    "ResourceStatus": "DELETE_FAILED",
                    "ResourceStatusReason": "The bucket is not empty",
                }
            ]
        },
    )
    with pytest.raises(UserError, match="Bucket: The bucket is not empty"):
        removal.delete_stack(target, lambda line: None)
