"""Functions killed in the middle of a call, state machines timed out, and the clean start of each test."""

import io
import json
import textwrap
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.byhand import ByHand, machine, role
from tests.faults.conftest import KEPT
from tests.faults.plan import Faults

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
WAITS = {"Type": "Wait", "Seconds": 10_000_000}


@pytest.fixture(scope="module")
def stops(client: Callable[[str], Any]) -> Callable[..., dict[str, Any]]:
    """stops(*jobs): what Lambda answers for a function, of handler stops.handler, that stops these jobs."""
    name, functions = f"stops-{uuid.uuid4().hex[:12]}", client("lambda")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("stops.py", textwrap.dedent(STOPS_JOBS))
    functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="stops.handler",
        Role=role(client("iam"), "lambda", ["sagemaker:StopTrainingJob"], ["*"]),
        Code={"ZipFile": archive.getvalue()},
        Timeout=20,
    )

    def call(*jobs: str) -> dict[str, Any]:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps({"jobs": jobs}))
        return {"error": answer.get("FunctionError"), "payload": json.loads(answer["Payload"].read())}

    return call


@pytest.fixture
def running(faults: Faults, byhand: ByHand) -> list[str]:
    """Three jobs that run."""
    names = ["job-0", "job-1", "job-2"]
    faults.job("InProgress", times=len(names))
    for name in names:
        byhand.api.create_training_job(**byhand.training(name))
    return names


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_function_is_killed_at_its_second_call(
    faults: Faults, byhand: ByHand, stops: Callable[..., dict[str, Any]], running: list[str], when: Any
) -> None:
    fault = faults.kill("stops", "StopTrainingJob", call=2, when=when)
    answer = stops(*running)
    assert answer["error"] == "Unhandled"
    assert answer["payload"]["errorType"] == "Runtime.ExitError"
    assert faults.fired(fault) == 1
    statuses = [
        byhand.api.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] for name in running
    ]
    assert [status == "InProgress" for status in statuses] == [False, when == "before", True]


def test_only_the_named_functions_calls_are_throttled_and_its_sdk_tries_again(
    faults: Faults, byhand: ByHand, stops: Callable[..., dict[str, Any]], running: list[str]
) -> None:
    faults.throttle("StopTrainingJob", by="stops", times=2)
    byhand.api.stop_training_job(TrainingJobName=running.pop())
    assert stops(*running) == {"error": None, "payload": "stopped"}
    assert faults.unused() == []


def test_a_function_is_not_there_for_its_caller(faults: Faults, stops: Callable[..., dict[str, Any]]) -> None:
    faults.unavailable("stops", error="Lambda.TooManyRequestsException")
    assert stops()["payload"]["errorType"] == "Lambda.TooManyRequestsException"
    assert stops()["payload"] == "stopped"


def test_an_execution_is_timed_out(faults: Faults, client: Callable[[str], Any]) -> None:
    states = client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine(client, WAITS))["executionArn"]
    faults.time_out(execution)
    assert states.describe_execution(executionArn=execution)["status"] == "TIMED_OUT"


def test_nothing_of_a_test_is_left_for_the_next(
    faults: Faults, byhand: ByHand, running: list[str], client: Callable[[str], Any]
) -> None:
    states, dynamodb, s3 = client("stepfunctions"), client("dynamodb"), client("s3")
    arn = machine(client, WAITS)
    states.start_execution(stateMachineArn=arn)
    byhand.served("endpoint", byhand.config("model"))
    table = f"table-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "resource", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "resource", "KeyType": "HASH"}],
    )
    dynamodb.put_item(TableName=table, Item={"resource": {"S": "a"}})
    s3.put_bucket_versioning(Bucket=byhand.bucket, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        s3.put_object(Bucket=byhand.bucket, Key="uploads/a/b.txt", Body=b"text")
    s3.put_object(Bucket=byhand.bucket, Key="code/kept", Body=b"code")
    faults.throttle("ListModels")

    faults.reset(KEPT)

    assert faults.planned() == []
    assert byhand.api.list_training_jobs()["TrainingJobSummaries"] == []
    assert (
        byhand.api.list_endpoints()["Endpoints"]
        == byhand.api.list_endpoint_configs()["EndpointConfigs"]
        == []
    )
    assert byhand.api.list_models()["Models"] == []
    assert states.list_executions(stateMachineArn=arn)["executions"] == []
    assert dynamodb.scan(TableName=table)["Items"] == []
    versions = s3.list_object_versions(Bucket=byhand.bucket)
    assert [version["Key"] for version in versions.get("Versions", [])] == ["code/kept"]
    assert "DeleteMarkers" not in versions
