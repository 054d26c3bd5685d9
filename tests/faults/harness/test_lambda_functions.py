"""Functions that are killed or unavailable, executions that time out, and the clean start of each test."""

import io
import json
import textwrap
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.harness.client import Faults, When
from tests.faults.harness.sagemaker_user import SageMakerUser, create_machine, create_role
from tests.faults.pipeline import KEPT

STOPS_JOBS = """
    import boto3
    from botocore.config import Config

    retries = {"total_max_attempts": 3, "mode": "standard"}
    sagemaker = boto3.client("sagemaker", config=Config(retries=retries))

    def handler(event, context):
        for job in event["jobs"]:
            sagemaker.stop_training_job(TrainingJobName=job)
        return "stopped"
"""
WAIT = {"Type": "Wait", "Seconds": 10_000_000}

Stop = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def stop_jobs(client: Callable[[str], Any]) -> Stop:
    """stop_jobs(*jobs): the response of a function, with the handler stops.handler, that stops these jobs."""
    name, functions = f"stops-{uuid.uuid4().hex[:12]}", client("lambda")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("stops.py", textwrap.dedent(STOPS_JOBS))
    functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="stops.handler",
        Role=create_role(client("iam"), "lambda", ["sagemaker:StopTrainingJob"], ["*"]),
        Code={"ZipFile": archive.getvalue()},
        Timeout=120,
    )

    def call(*jobs: str) -> dict[str, Any]:
        response = functions.invoke(FunctionName=name, Payload=json.dumps({"jobs": jobs}))
        return {"error": response.get("FunctionError"), "payload": json.loads(response["Payload"].read())}

    return call


@pytest.fixture
def jobs(faults: Faults, user: SageMakerUser) -> list[str]:
    """The names of three jobs in progress."""
    names = ["job-0", "job-1", "job-2"]
    faults.job("InProgress", times=len(names))
    for name in names:
        user.start_job(name)
    return names


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_function_is_killed_at_its_second_call(
    faults: Faults, user: SageMakerUser, stop_jobs: Stop, jobs: list[str], when: When
) -> None:
    faults.kill("stops", "StopTrainingJob", call=2, when=when)
    response = stop_jobs(*jobs)
    assert (response["error"], response["payload"]["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert faults.unused() == []
    in_progress = [user.describe_job(name)["TrainingJobStatus"] == "InProgress" for name in jobs]
    assert in_progress == [False, when == "before", True]


def test_only_the_calls_of_one_function_are_throttled_and_its_sdk_retries(
    faults: Faults, user: SageMakerUser, stop_jobs: Stop, jobs: list[str]
) -> None:
    faults.throttle("StopTrainingJob", by="stops", times=2)
    user.api.stop_training_job(TrainingJobName=jobs.pop())
    assert stop_jobs(*jobs) == {"error": None, "payload": "stopped"}
    assert faults.unused() == []


def test_a_function_is_unavailable(faults: Faults, stop_jobs: Stop) -> None:
    faults.unavailable("stops", "Lambda.TooManyRequestsException")
    assert stop_jobs()["payload"]["errorType"] == "Lambda.TooManyRequestsException"
    assert stop_jobs()["payload"] == "stopped"


def test_an_execution_times_out(faults: Faults, client: Callable[[str], Any]) -> None:
    states = client("stepfunctions")
    execution = states.start_execution(stateMachineArn=create_machine(client, WAIT))["executionArn"]
    faults.time_out(execution)
    assert states.describe_execution(executionArn=execution)["status"] == "TIMED_OUT"


def test_a_reset_leaves_nothing_of_a_test(
    faults: Faults, user: SageMakerUser, jobs: list[str], client: Callable[[str], Any]
) -> None:
    states, dynamodb = client("stepfunctions"), client("dynamodb")
    machine = create_machine(client, WAIT)
    states.start_execution(stateMachineArn=machine)
    user.create_endpoint(user.create_config("model"))
    table = f"table-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "resource", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "resource", "KeyType": "HASH"}],
    )
    dynamodb.put_item(TableName=table, Item={"resource": {"S": "a"}})
    user.s3.put_bucket_versioning(Bucket=user.bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ("uploads/a/b.txt", "uploads/a/b.txt", "code/kept"):
        user.s3.put_object(Bucket=user.bucket, Key=key, Body=b"content")
    faults.throttle("ListModels")

    faults.reset(KEPT)

    assert faults.planned() == []
    assert user.api.list_training_jobs()["TrainingJobSummaries"] == []
    assert user.api.list_endpoints()["Endpoints"] == []
    assert user.api.list_endpoint_configs()["EndpointConfigs"] == []
    assert user.api.list_models()["Models"] == []
    assert states.list_executions(stateMachineArn=machine)["executions"] == []
    assert dynamodb.scan(TableName=table)["Items"] == []
    versions = user.s3.list_object_versions(Bucket=user.bucket)
    assert [version["Key"] for version in versions.get("Versions", [])] == ["code/kept"]
    assert "DeleteMarkers" not in versions
