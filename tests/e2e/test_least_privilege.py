"""Least privilege, measured: without any of these permissions a run fails, and its error names the action.

Each test takes one permission from one role of the deployed stack, sees what becomes of a run, and gives it
back. That the same runs succeed with all of them is what the other end-to-end tests show.

One run goes all the way first. Its steps are then called again, each with the documents that the run had for
it, so that a missing permission costs a call and not a run.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from contracts.base import Contract
from contracts.dataset import PrepareInput
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

DATASET = "privileges"
CORPUS = "\n".join(
    f"the president of the union said {n % 97} words to the people ." for n in range(600)
).encode()
NOBODY = "nobody waits on this token"
ANOTHER = "lexline--privileges-000000000000"
"""A run that never was: a step that finds nothing of its name has to make it."""
# The state whose output is the document of that name.
STATES = {
    "run": "Plan",
    "lease": "Acquire",
    "prepared": "Prepare",
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
    """What a whole run's states came to, by the names that the steps know it by."""
    before = set(stack.executions())
    stack.upload(DATASET, "corpus.txt", CORPUS)
    (execution,) = until(lambda: set(stack.executions()) - before)
    assert stack.wait(execution)["status"] == "SUCCEEDED"
    pages = stack.cloud.client("stepfunctions").get_paginator("get_execution_history")
    outputs = {
        event["stateExitedEventDetails"]["name"]: json.loads(event["stateExitedEventDetails"]["output"])
        for page in pages.paginate(executionArn=execution)
        for event in page["events"]
        if event["type"] == "TaskStateExited"
    }
    found = {name: outputs[state] for name, state in STATES.items()}
    nothing = dict.fromkeys(ReportInput.model_fields)
    known = {"token": NOBODY, "execution": found["run"]["execution"], "caught": []}
    return {**nothing, **found, **known, "at_work": False}


@pytest.fixture
def lease(stack: DeployedStack, documents: dict[str, Any]) -> Iterator[None]:
    """The whole run holds the endpoint's lease, as while it was at work."""
    table = stack.cloud.client("dynamodb")
    place = {"TableName": stack.outputs["TableName"], "Key": {"resource": {"S": "endpoint/lexline"}}}
    names = {f"#{name}": name for name in ("owner", "execution", "until", "generation")}
    until(lambda: "owner" not in table.get_item(**place, ConsistentRead=True)["Item"])
    held = documents["lease"]
    table.update_item(
        **place,
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
    table.update_item(**place, UpdateExpression=f"REMOVE {', '.join(names)}", ExpressionAttributeNames=names)


def until(condition: Any, seconds: float = 240) -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.2)
    return found


@contextmanager
def without(stack: DeployedStack, role: str, action: str, on: str = "") -> Iterator[None]:
    """The deployment with `action` taken from a role of the template, on the resources that contain `on`.

    Raises AssertionError if the role does not have that permission.
    """
    iam, name = stack.cloud.client("iam"), stack.resources()[role]
    taken = []
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        reduced = [left for statement in document["Statement"] for left in parts(statement, action, on)]
        if reduced != document["Statement"]:
            taken.append((policy, document))
            if reduced:
                put(iam, name, policy, {**document, "Statement": reduced})
            else:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
    assert taken, f"{role} has no {action} on {on or 'anything'}"
    try:
        yield
    finally:
        for policy, document in taken:
            put(iam, name, policy, document)


def parts(statement: Mapping[str, Any], action: str, on: str) -> list[Mapping[str, Any]]:
    """What is left of a statement without the action on those resources, as statements of their own."""
    actions, resources = listed(statement["Action"]), listed(statement["Resource"])
    hit = [resource for resource in resources if on in resource]
    if action not in actions or not hit:
        return [statement]
    left = [{**statement, "Action": [each for each in actions if each != action]}]
    left.append(
        {**statement, "Resource": [each for each in resources if each not in hit], "Action": [action]}
    )
    return [each for each in left if each["Action"] and each["Resource"]]


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def put(iam: Any, role: str, policy: str, document: Mapping[str, Any]) -> None:
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def assert_failed_for(ended: Mapping[str, Any], step: str, action: str) -> None:
    """The execution failed, and what a person reads about it names the step and the denied action."""
    assert ended["status"] == "FAILED"
    assert step in ended["cause"]
    assert action.lower() in ended["cause"].lower()


# --- the steps of a run, each by itself ---


def call(stack: DeployedStack, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The function's answer, which is its failure if it fails."""
    answer = stack.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    parsed: dict[str, Any] = json.loads(answer["Payload"].read())
    return parsed


def assert_denied(answer: Mapping[str, Any], action: str) -> None:
    """The function failed for want of the action, and names it."""
    assert answer.get("errorType") == "AccessDenied", answer
    assert action.lower() in answer["errorMessage"].lower()


ROLES = {"create-model": "CreateModelRole", "find-model": "FindModelRole", "smoke-test": "SmokeTestRole"}
"""Where the role is not called what its function is."""
# What of the run's document is changed for a step.
AGAIN: dict[str, Any] = {}
NEW = {"name": ANOTHER}
IN_TIME = {"teardown": {"after": "PT1H"}}
SCALING = {"hosting": {"instance_type": "ml.m5.large", "max_instance_count": 2}}


@pytest.mark.parametrize(
    ("step", "contract", "run", "action"),
    [
        ("gather", GatherInput, AGAIN, "dynamodb:GetItem"),
        ("gather", GatherInput, AGAIN, "dynamodb:UpdateItem"),
        ("acquire", AcquireInput, AGAIN, "dynamodb:UpdateItem"),
        ("acquire", AcquireInput, AGAIN, "sns:Publish"),
        ("acquire", AcquireInput, AGAIN, "states:SendTaskSuccess"),
        ("prepare", PrepareInput, AGAIN, "dynamodb:UpdateItem"),
        ("prepare", PrepareInput, AGAIN, "s3:ListBucket"),
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
        ("finish", FinishInput, IN_TIME, "scheduler:CreateSchedule"),
        ("finish", FinishInput, IN_TIME, "iam:PassRole"),
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
    with without(stack, ROLES.get(step, f"{step.capitalize()}Role"), action):
        answer = call(stack, f"lexline-{step}", given)
    assert_denied(answer, action)


# --- the functions that events wake ---


@pytest.fixture
def waiting(stack: DeployedStack, documents: dict[str, Any]) -> Iterator[str]:
    """The ARN of the run's training job, on which somebody waits."""
    table, job = stack.cloud.client("dynamodb"), documents["trained"]["arn"]
    item = {"resource": {"S": job}, "token": {"S": NOBODY}, "run": {"S": documents["run"]["name"]}}
    table.put_item(TableName=stack.outputs["TableName"], Item=item)
    yield job
    table.delete_item(TableName=stack.outputs["TableName"], Key={"resource": {"S": job}})


@pytest.mark.parametrize(
    "action", ["dynamodb:GetItem", "sagemaker:DescribeTrainingJob", "states:SendTaskSuccess"]
)
def test_the_callback_cannot_wake_a_run_without_its_permissions(
    stack: DeployedStack, waiting: str, action: str
) -> None:
    with without(stack, "CallbackRole", action):
        assert_denied(call(stack, "lexline-callback", {"resources": [waiting]}), action)


@pytest.mark.parametrize("action", ["states:DescribeExecution", "dynamodb:GetItem"])
def test_a_runs_end_is_not_seen_to_without_its_permissions(
    stack: DeployedStack, documents: dict[str, Any], action: str
) -> None:
    event = {"detail": {"executionArn": documents["execution"]["id"]}}
    with without(stack, "ExecutionEndedRole", action):
        assert_denied(call(stack, "lexline-execution-ended", event), action)


@pytest.mark.parametrize("action", ["dynamodb:GetItem", "sagemaker:ListTrainingJobs", "sagemaker:ListModels"])
def test_the_sweep_fails_without_its_permissions(
    stack: DeployedStack, documents: dict[str, Any], action: str
) -> None:
    with without(stack, "SweepRole", action):
        assert_denied(call(stack, "lexline-sweep", {}), action)


def test_an_alarm_is_not_told_of_without_the_permission_to_publish(stack: DeployedStack) -> None:
    alarm = {"alarmName": "lexline-run-failed", "state": {"reason": "A test."}, "configuration": {}}
    with without(stack, "AlarmRole", "sns:Publish"):
        assert_denied(call(stack, "lexline-alarm", {"detail": alarm}), "sns:Publish")


# --- what becomes of a run ---


def test_a_run_fails_where_a_step_lacks_a_permission_and_its_clean_up_is_told_besides(
    stack: DeployedStack,
) -> None:
    with (
        without(stack, "PrepareRole", "s3:ListBucket"),
        without(stack, "CompensateRole", "sagemaker:DescribeTrainingJob"),
        without(stack, "TeardownRole", "sagemaker:DescribeEndpoint"),
    ):
        ended = stack.wait(stack.start({"dataset": DATASET, "teardown": "on_failure"}))
    assert ended["error"] == "AccessDenied"
    assert_failed_for(ended, "Prepare", "s3:ListBucket")
    assert_failed_for(ended, "Compensate", "sagemaker:DescribeTrainingJob")
    assert_failed_for(ended, "TearDown", "sagemaker:DescribeEndpoint")


def test_a_result_that_cannot_be_published_fails_the_run_and_so_does_a_step_that_cannot_be_invoked(
    stack: DeployedStack,
) -> None:
    with (
        without(stack, "StateMachineRole", "lambda:InvokeFunction", ":lexline-acquire"),
        without(stack, "ReportRole", "sns:Publish"),
    ):
        ended = stack.wait(stack.start({"dataset": DATASET}))
    assert_failed_for(ended, "Acquire", "lambda:InvokeFunction")
    assert_failed_for(ended, "Report", "sns:Publish")


def test_neither_an_upload_nor_a_schedule_starts_what_its_role_may_not_start(stack: DeployedStack) -> None:
    before = set(stack.executions())
    role = f"arn:aws:iam::000000000000:role/{stack.resources()['ScheduleRole']}"
    with (
        without(stack, "UploadRuleRole", "states:StartExecution"),
        without(stack, "ScheduleRole", "states:StartExecution"),
    ):
        stack.upload("unheard", "README", b"never a corpus")
        stack.cloud.client("scheduler").create_schedule(
            Name=ANOTHER,
            GroupName="lexline-teardowns",
            ScheduleExpression=f"at({time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time.time() + 1))})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={"Arn": stack.outputs["StateMachineArn"], "RoleArn": role, "Input": "{}"},
        )
        time.sleep(2)
    assert set(stack.executions()) == before


# --- the role that SageMaker runs as ---

TAKEN = {
    "prepared": ("s3:GetObject", "/prepared/", "s3:GetObject"),
    # The toolkit asks for the code's head first, and S3 says no more than 403 to a HEAD request.
    "code": ("s3:GetObject", "/code/", "HeadObject operation: Forbidden"),
    "runs": ("s3:PutObject", "/runs/", "s3:PutObject"),
    "checkpoints": ("s3:PutObject", "/checkpoints/", "Checkpoint upload failed"),
}
"""What is taken from the role, on what, and what the job's failure then says."""


@pytest.fixture(scope="module")
def failures(stack: DeployedStack, documents: dict[str, Any]) -> dict[str, str]:
    """The reasons for which the run's training job fails as roles that lack one permission each.

    The jobs run at once, for most of the time goes into starting them.
    """
    sagemaker, iam = stack.cloud.client("sagemaker"), stack.cloud.client("iam")
    job = sagemaker.describe_training_job(TrainingJobName=documents["trained"]["job"])
    asked = sagemaker.meta.service_model.operation_model("CreateTrainingJob").input_shape.members
    again = {name: value for name, value in job.items() if name in asked}
    role = iam.get_role(RoleName=stack.resources()["ExecutionRole"])["Role"]
    for lacking, (action, on, _) in TAKEN.items():
        name = f"lexline-without-{lacking}"
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(role["AssumeRolePolicyDocument"]))
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            reduced = [left for statement in document["Statement"] for left in parts(statement, action, on)]
            put(iam, name, policy, {**document, "Statement": reduced})
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        own = {
            "TrainingJobName": name,
            "RoleArn": arn,
            "CheckpointConfig": {"S3Uri": f"s3://{stack.bucket}/checkpoints/{name}/"},
        }
        sagemaker.create_training_job(**{**again, **own})
    return {lacking: failure_of(sagemaker, f"lexline-without-{lacking}") for lacking in TAKEN}


def failure_of(sagemaker: Any, job: str) -> str:
    """Why the job failed, once it has ended; nothing if it did not fail."""

    def look() -> Any:
        described = sagemaker.describe_training_job(TrainingJobName=job)
        return described if described["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

    return str(until(look).get("FailureReason", ""))


@pytest.mark.parametrize("lacking", TAKEN)
def test_the_training_job_fails_without_its_data(failures: dict[str, str], lacking: str) -> None:
    assert TAKEN[lacking][2] in failures[lacking]


# --- the API ---


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "/generate", "sagemaker:InvokeEndpoint"),
        ("GET", "/model", "sagemaker:DescribeEndpoint"),
    ],
)
def test_the_api_says_which_permission_it_lacks(
    stack: DeployedStack, method: str, path: str, action: str
) -> None:
    headers = {"x-api-key": stack.api_key(), "Content-Type": "application/json"}
    body = b'{"words": 5}' if method == "POST" else None
    request = urllib.request.Request(stack.api_url + path, data=body, method=method, headers=headers)
    with without(stack, "ApiRole", action), pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    answer = json.loads(refused.value.read())
    assert refused.value.code == 500
    assert answer["code"] == "not_permitted"
    assert action in answer["message"]
