"""Least privilege: without any of these permissions a run fails, and its error names the action.

Each test removes a permission from a role of the deployed stack, checks the failure, and restores the
permission. The other end-to-end tests show that the same runs succeed with all permissions.

First, a whole run succeeds. Then its steps are called again with the documents of that run, so that a missing
permission costs a call instead of a run.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from contracts.base import Contract
from contracts.dataset import AssembleDatasetInput, ListUploadsInput, ReadUploadInput
from contracts.registry import FindModelInput, RegisterInput
from contracts.report import ReportInput
from contracts.run import AcquireInput, GatherInput
from contracts.serving import (
    CompensateInput,
    CreateModelInput,
    DeployInput,
    FinishInput,
    SmokeTestInput,
    TeardownInput,
)
from contracts.training import ChampionInput, SourceInput, TrainInput
from tests.stack import DeployedStack
from tests.waiting import wait_until

DATASET = "privileges"
CORPUS = "\n".join(
    f"the president of the union said {n % 97} words to the people ." for n in range(600)
).encode()
UNUSED_TOKEN = "no task waits for this token"
NEW_RUN = "lexline--privileges-000000000000"
"""A run without resources, so that a step has to create them."""
# The state whose output is the document of this name.
STATES = {
    "run": "Plan",
    "lease": "Acquire",
    "listed": "ListUploads",
    "prepared": "AssembleDataset",
    "source": "Source",
    "champion": "Champion",
    "trained": "Train",
    "evaluated": "Evaluate",
    "registered": "Register",
    "model": "CreateModel",
    "deployed": "Deploy",
    "smoke_test": "SmokeTest",
    "finished": "Finish",
}


@pytest.fixture(scope="module")
def documents(stack: DeployedStack) -> dict[str, Any]:
    """The outputs of a whole run's states, by the names in the contracts of the steps."""
    execution = stack.start_by_upload(DATASET, "corpus.txt", CORPUS)
    stack.report(execution)
    pages = stack.cloud.client("stepfunctions").get_paginator("get_execution_history")
    outputs = {
        event["stateExitedEventDetails"]["name"]: json.loads(event["stateExitedEventDetails"]["output"])
        for page in pages.paginate(executionArn=execution)
        for event in page["events"]
        if event["type"] == "TaskStateExited"
    }
    found = {name: outputs[state] for name, state in STATES.items()}
    absent = dict.fromkeys(ReportInput.model_fields)
    items = stack.cloud.client("s3").get_object(Bucket=stack.bucket, Key=found["listed"]["items_key"])
    known = {
        "token": UNUSED_TOKEN,
        "execution": found["run"]["execution"],
        "item": json.loads(items["Body"].read())[0],
        "caught": [],
        "at_work": False,
    }
    return {**absent, **found, **known}


@pytest.fixture
def lease(stack: DeployedStack, documents: dict[str, Any]) -> Iterator[None]:
    """The run has the endpoint's lease, as it had while it was in progress."""
    table = stack.cloud.client("dynamodb")
    item = {"TableName": stack.outputs["TableName"], "Key": {"resource": {"S": "endpoint/lexline"}}}
    names = {f"#{name}": name for name in ("owner", "execution", "until", "generation")}
    wait_until(lambda: "owner" not in table.get_item(**item, ConsistentRead=True)["Item"], "a free lease")
    held = documents["lease"]
    table.update_item(
        **item,
        UpdateExpression=f"SET {', '.join(f'{name} = :{name[1:]}' for name in names)}",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={
            ":owner": {"S": held["owner"]},
            ":execution": {"S": documents["execution"]["id"]},
            ":until": {"N": str(time.time() + 3600)},
            ":generation": {"N": str(held["generation"])},
        },
    )
    yield
    del names["#generation"]
    table.update_item(**item, UpdateExpression=f"REMOVE {', '.join(names)}", ExpressionAttributeNames=names)


@contextmanager
def without(stack: DeployedStack, role: str, action: str, on: str = "") -> Iterator[None]:
    """Remove a permission from a role for the block.

    Args:
        stack: The deployed stack.
        role: The role's name in the template. It must have the permission.
        action: The action of the permission.
        on: The permission is removed on the resources whose ARN contains this text.
    """
    iam, name = stack.cloud.client("iam"), stack.resources()[role]
    changed = []
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        reduced = reduce(document, action, on)
        if reduced != document["Statement"]:
            changed.append((policy, document))
            if reduced:
                put(iam, name, policy, {**document, "Statement": reduced})
            else:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
    assert changed, f"{role} has no {action} on {on or 'any resource'}"
    try:
        yield
    finally:
        for policy, document in changed:
            put(iam, name, policy, document)


def reduce(document: Mapping[str, Any], action: str, on: str) -> list[Mapping[str, Any]]:
    """Return the statements of a policy without an action on the resources that contain `on`."""
    reduced: list[Mapping[str, Any]] = []
    for statement in document["Statement"]:
        actions, resources = listed(statement["Action"]), listed(statement["Resource"])
        others = [resource for resource in resources if on not in resource]
        if action not in actions or others == resources:
            reduced.append(statement)
            continue
        split = [
            {**statement, "Action": [other for other in actions if other != action]},
            {**statement, "Action": [action], "Resource": others},
        ]
        reduced += [part for part in split if part["Action"] and part["Resource"]]
    return reduced


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def put(iam: Any, role: str, policy: str, document: Mapping[str, Any]) -> None:
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def assert_failed_for(ended: Mapping[str, Any], step: str, action: str) -> None:
    """Check that the execution failed, and that its cause names the step and the denied action."""
    assert ended["status"] == "FAILED"
    assert step in ended["cause"]
    assert action.lower() in ended["cause"].lower()


# --- steps


def assert_denied(
    stack: DeployedStack, function: str, event: Mapping[str, Any], role: str, action: str
) -> None:
    """Check that a function fails without a permission of its role, and that its error names the action."""
    with without(stack, role, action):
        response = stack.cloud.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(event).encode()
        )
    error = json.loads(response["Payload"].read())
    assert error.get("errorType") == "AccessDenied", error
    assert action.lower() in error["errorMessage"].lower()


ROLES = {
    "list-uploads": "ListUploadsRole",
    "read-upload": "ReadUploadRole",
    "assemble-dataset": "AssembleDatasetRole",
    "create-model": "CreateModelRole",
    "find-model": "FindModelRole",
    "smoke-test": "SmokeTestRole",
}
"""Roles with another name than their function."""
# Changes of the run's document for a step.
AGAIN: dict[str, Any] = {}
NEW = {"name": NEW_RUN}
LATER = {"teardown": {"after": "PT1H"}}
SCALING = {"hosting": {"instance_type": "ml.m5.large", "max_instance_count": 2}}


@pytest.mark.parametrize(
    ("step", "contract", "run", "action"),
    [
        ("gather", GatherInput, AGAIN, "dynamodb:GetItem"),
        ("gather", GatherInput, AGAIN, "dynamodb:UpdateItem"),
        ("acquire", AcquireInput, AGAIN, "dynamodb:UpdateItem"),
        ("acquire", AcquireInput, AGAIN, "sns:Publish"),
        ("acquire", AcquireInput, AGAIN, "states:SendTaskSuccess"),
        ("list-uploads", ListUploadsInput, AGAIN, "dynamodb:UpdateItem"),
        ("list-uploads", ListUploadsInput, AGAIN, "s3:ListBucket"),
        ("read-upload", ReadUploadInput, AGAIN, "s3:GetObject"),
        ("read-upload", ReadUploadInput, AGAIN, "states:DescribeExecution"),
        ("assemble-dataset", AssembleDatasetInput, AGAIN, "s3:GetObject"),
        ("assemble-dataset", AssembleDatasetInput, AGAIN, "s3:PutObject"),
        ("source", SourceInput, AGAIN, "s3:PutObject"),
        ("champion", ChampionInput, AGAIN, "sagemaker:DescribeEndpoint"),
        ("champion", ChampionInput, AGAIN, "sagemaker:ListTags"),
        ("train", TrainInput, NEW, "sagemaker:CreateTrainingJob"),
        ("train", TrainInput, NEW, "sagemaker:AddTags"),
        ("train", TrainInput, NEW, "iam:PassRole"),
        ("train", TrainInput, AGAIN, "states:SendTaskSuccess"),
        ("register", RegisterInput, NEW, "sagemaker:CreateModelPackage"),
        ("register", RegisterInput, AGAIN, "sagemaker:DescribeModelPackage"),
        ("find-model", FindModelInput, {"model": "1"}, "sagemaker:ListModelPackages"),
        ("create-model", CreateModelInput, NEW, "sagemaker:CreateModel"),
        ("create-model", CreateModelInput, NEW, "iam:PassRole"),
        ("deploy", DeployInput, NEW, "sagemaker:CreateEndpointConfig"),
        ("deploy", DeployInput, AGAIN, "states:SendTaskSuccess"),
        ("smoke-test", SmokeTestInput, AGAIN, "sagemaker:InvokeEndpoint"),
        ("finish", FinishInput, AGAIN, "sagemaker:AddTags"),
        ("finish", FinishInput, LATER, "scheduler:CreateSchedule"),
        ("finish", FinishInput, LATER, "iam:PassRole"),
        ("finish", FinishInput, SCALING, "application-autoscaling:RegisterScalableTarget"),
        ("teardown", TeardownInput, AGAIN, "sagemaker:DeleteEndpoint"),
        ("compensate", CompensateInput, AGAIN, "sagemaker:DescribeEndpointConfig"),
        ("report", ReportInput, AGAIN, "s3:PutObject"),
        ("report", ReportInput, AGAIN, "sns:Publish"),
    ],
)
def test_a_step_fails_without_its_permission(
    stack: DeployedStack,
    documents: dict[str, Any],
    lease: None,
    step: str,
    contract: type[Contract],
    run: Mapping[str, Any],
    action: str,
) -> None:
    given = {name: documents[name] for name in contract.model_fields}
    if "run" in given:
        changed = {
            name: {**given["run"][name], **value} if name == "hosting" else value
            for name, value in run.items()
        }
        given["run"] = {**given["run"], **changed}
    assert_denied(stack, f"lexline-{step}", given, ROLES.get(step, f"{step.capitalize()}Role"), action)


# --- events


@pytest.fixture
def waiting_job(stack: DeployedStack, documents: dict[str, Any]) -> Iterator[str]:
    """The ARN of the run's training job, for which a task waits."""
    table, job = stack.cloud.client("dynamodb"), documents["trained"]["arn"]
    item = {"resource": {"S": job}, "token": {"S": UNUSED_TOKEN}, "run": {"S": documents["run"]["name"]}}
    table.put_item(TableName=stack.outputs["TableName"], Item=item)
    yield job
    table.delete_item(TableName=stack.outputs["TableName"], Key={"resource": {"S": job}})


@pytest.mark.parametrize(
    "action", ["dynamodb:GetItem", "sagemaker:DescribeTrainingJob", "states:SendTaskSuccess"]
)
def test_the_callback_fails_without_its_permission(
    stack: DeployedStack, waiting_job: str, action: str
) -> None:
    assert_denied(stack, "lexline-callback", {"resources": [waiting_job]}, "CallbackRole", action)


@pytest.mark.parametrize("action", ["states:DescribeExecution", "dynamodb:GetItem"])
def test_the_end_of_an_execution_is_not_handled_without_its_permission(
    stack: DeployedStack, documents: dict[str, Any], action: str
) -> None:
    event = {"detail": {"executionArn": documents["execution"]["id"]}}
    assert_denied(stack, "lexline-execution-ended", event, "ExecutionEndedRole", action)


@pytest.mark.parametrize("action", ["dynamodb:GetItem", "sagemaker:ListTrainingJobs", "sagemaker:ListModels"])
def test_the_sweep_fails_without_its_permission(
    stack: DeployedStack, documents: dict[str, Any], action: str
) -> None:
    assert_denied(stack, "lexline-sweep", {}, "SweepRole", action)


def test_an_alarm_is_not_published_without_the_permission(stack: DeployedStack) -> None:
    alarm = {"alarmName": "lexline-run-failed", "state": {"reason": "A test."}, "configuration": {}}
    assert_denied(stack, "lexline-alarm", {"detail": alarm}, "AlarmRole", "sns:Publish")


# --- runs


def test_the_cause_of_a_failed_run_names_every_denied_step(
    stack: DeployedStack,
) -> None:
    with (
        without(stack, "ListUploadsRole", "s3:ListBucket"),
        without(stack, "CompensateRole", "sagemaker:DescribeTrainingJob"),
        without(stack, "TeardownRole", "sagemaker:DescribeEndpoint"),
    ):
        ended = stack.wait(stack.start({"dataset": DATASET, "teardown": "on_failure"}))
    assert ended["error"] == "AccessDenied"
    assert_failed_for(ended, "ListUploads", "s3:ListBucket")
    assert_failed_for(ended, "Compensate", "sagemaker:DescribeTrainingJob")
    assert_failed_for(ended, "Teardown", "sagemaker:DescribeEndpoint")


def test_a_run_fails_if_a_step_cannot_be_invoked_or_its_report_cannot_be_published(
    stack: DeployedStack,
) -> None:
    with (
        without(stack, "StateMachineRole", "lambda:InvokeFunction", ":lexline-acquire"),
        without(stack, "ReportRole", "sns:Publish"),
    ):
        ended = stack.wait(stack.start({"dataset": DATASET}))
    assert_failed_for(ended, "Acquire", "lambda:InvokeFunction")
    assert_failed_for(ended, "Report", "sns:Publish")


@pytest.mark.parametrize("action", ["states:StartExecution", "s3:GetObject"])
def test_a_run_fails_if_its_uploads_cannot_be_read_side_by_side(stack: DeployedStack, action: str) -> None:
    with without(stack, "StateMachineRole", action):
        ended = stack.wait(stack.start({"dataset": DATASET}))
    assert_failed_for(ended, "ReadUploads", action)


def test_an_item_that_is_denied_names_the_action(stack: DeployedStack) -> None:
    with without(stack, "ReadUploadRole", "s3:PutObject"):
        ended = stack.wait(stack.start({"dataset": DATASET}))
    assert ended["error"] == "AccessDenied"
    assert_failed_for(ended, "ReadUpload", "s3:PutObject")


def test_uploads_and_schedules_start_nothing_without_their_permission(stack: DeployedStack) -> None:
    before = set(stack.executions())
    resources = stack.resources()
    with (
        without(stack, "UploadRuleRole", "states:StartExecution"),
        without(stack, "ScheduleRole", "states:StartExecution"),
    ):
        stack.upload("denied", "README", b"never a corpus")
        stack.cloud.client("scheduler").create_schedule(
            Name=NEW_RUN,
            GroupName="lexline-teardowns",
            ScheduleExpression=f"at({time.strftime('%FT%T', time.gmtime(time.time() + 5))})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                "Arn": stack.outputs["StateMachineArn"],
                "RoleArn": f"arn:aws:iam::000000000000:role/{resources['ScheduleRole']}",
                "Input": "{}",
            },
        )
        log = stack.cloud.state_dir / "server.log"

        def denials() -> set[str]:
            found = re.findall(
                r"(EventBridge rule|Schedule) .*states:StartExecution", log.read_text("utf-8", "replace")
            )
            return set(found) if len(set(found)) == 2 else set()

        wait_until(denials, "EventBridge and Scheduler to be denied")
    assert set(stack.executions()) == before


# --- the training job's role

REMOVED = {
    "prepared": ("s3:GetObject", "/prepared/", "s3:GetObject"),
    # The toolkit sends a HEAD request for the code first, and S3 responds to it without a message.
    "code": ("s3:GetObject", "/code/", "HeadObject operation: Forbidden"),
    "runs": ("s3:PutObject", "/runs/", "s3:PutObject"),
    "checkpoints": ("s3:PutObject", "/checkpoints/", "Checkpoint upload failed"),
}
"""The removed action, a part of its resource, and a part of the job's failure reason."""


@pytest.fixture(scope="module")
def failures(stack: DeployedStack, documents: dict[str, Any]) -> dict[str, str]:
    """The failure reasons of the run's training job, with roles that lack one permission each.

    The jobs run at the same time, because most of the time goes into their start.
    """
    sagemaker, iam = stack.cloud.client("sagemaker"), stack.cloud.client("iam")
    job = sagemaker.describe_training_job(TrainingJobName=documents["trained"]["job"])
    members = sagemaker.meta.service_model.operation_model("CreateTrainingJob").input_shape.members
    request = {name: value for name, value in job.items() if name in members}
    role = iam.get_role(RoleName=stack.resources()["ExecutionRole"])["Role"]
    for lacking, (action, on, _) in REMOVED.items():
        name = f"lexline-without-{lacking}"
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(role["AssumeRolePolicyDocument"]))
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            put(iam, name, policy, {**document, "Statement": reduce(document, action, on)})
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        own = {
            "TrainingJobName": name,
            "RoleArn": arn,
            "CheckpointConfig": {"S3Uri": f"s3://{stack.bucket}/checkpoints/{name}/"},
        }
        sagemaker.create_training_job(**{**request, **own})
    return {lacking: failure_of(sagemaker, f"lexline-without-{lacking}") for lacking in REMOVED}


def failure_of(sagemaker: Any, job: str) -> str:
    """Wait for a job's end, and return its failure reason; "" if it did not fail."""

    def ended() -> Any:
        described = sagemaker.describe_training_job(TrainingJobName=job)
        return described if described["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

    return str(wait_until(ended, f"the end of {job}").get("FailureReason", ""))


@pytest.mark.parametrize("lacking", REMOVED)
def test_the_training_job_fails_without_its_permission(failures: dict[str, str], lacking: str) -> None:
    assert REMOVED[lacking][2] in failures[lacking]


# --- the API


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "/generate", "sagemaker:InvokeEndpoint"),
        ("GET", "/model", "sagemaker:DescribeEndpoint"),
    ],
)
def test_the_api_names_the_missing_permission(
    stack: DeployedStack, method: str, path: str, action: str
) -> None:
    with without(stack, "ApiRole", action):
        response = stack.call_api(method, path, {"words": 5} if method == "POST" else None)
    assert (response.status, response.body["code"]) == (500, "not_permitted")
    assert action in response.body["message"]
