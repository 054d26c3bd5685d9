"""Least privilege, measured: without any of these permissions a run fails, and its error names the action.

Each test takes one permission from one role of the deployed stack, sees what becomes of a run, and gives it
back. That the same runs succeed with all of them is what the other end-to-end tests show.
"""

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.stack import DeployedStack

DATASET = "privileges"
CORPUS = "\n".join(
    f"the president of the union said {n % 97} words to the people ." for n in range(600)
).encode()
RUN = {"dataset": DATASET}


@pytest.fixture(scope="module")
def corpus(stack: DeployedStack) -> str:
    """A corpus that the runs of these tests find; the run that its upload starts is stopped."""
    upload_and_stop(stack, DATASET)
    return DATASET


def upload_and_stop(stack: DeployedStack, dataset: str) -> None:
    before = set(stack.executions())
    stack.upload(dataset, "corpus.txt", CORPUS)
    (execution,) = until(lambda: set(stack.executions()) - before)
    stack.cloud.client("stepfunctions").stop_execution(executionArn=execution)


def until(condition: Any, seconds: float = 90) -> Any:
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


# --- steps that a run comes to without training ---


@pytest.mark.parametrize(
    ("role", "action", "step"),
    [
        ("PrepareRole", "s3:ListBucket", "Prepare"),
        ("PrepareRole", "s3:PutObject", "Prepare"),
        ("TrainingRole", "dynamodb:UpdateItem", "Train"),
        ("TrainingRole", "sagemaker:CreateTrainingJob", "Train"),
        ("TrainingRole", "iam:PassRole", "Train"),
    ],
)
def test_a_run_fails_where_its_step_lacks_a_permission(
    stack: DeployedStack, corpus: str, role: str, action: str, step: str
) -> None:
    with without(stack, role, action):
        ended = stack.wait(stack.start(RUN))
    assert_failed_for(ended, step, action)
    assert ended["error"] == "AccessDenied"


def test_an_upload_cannot_be_claimed_without_the_table(stack: DeployedStack) -> None:
    before = set(stack.executions())
    with without(stack, "PlanRole", "dynamodb:PutItem"):
        stack.upload("unclaimed", "corpus.txt", CORPUS)
        (execution,) = until(lambda: set(stack.executions()) - before)
        ended = stack.wait(execution)
    assert_failed_for(ended, "Plan", "dynamodb:PutItem")


def test_an_upload_starts_nothing_if_the_rule_may_not_start_the_machine(stack: DeployedStack) -> None:
    before = set(stack.executions())
    with without(stack, "UploadRuleRole", "states:StartExecution"):
        stack.upload("unheard", "README", b"never a corpus")
        time.sleep(2)
    assert set(stack.executions()) == before


def test_a_failed_clean_up_is_told_beside_the_reason_of_the_run(stack: DeployedStack) -> None:
    with without(stack, "CompensateRole", "sagemaker:DescribeTrainingJob"):
        ended = stack.wait(stack.start({"dataset": "not-there"}))
    assert ended["error"] == "DatasetNotFound"
    assert_failed_for(ended, "Compensate", "sagemaker:DescribeTrainingJob")


def test_a_failed_tear_down_is_told_beside_the_reason_of_the_run(stack: DeployedStack) -> None:
    with without(stack, "TeardownRole", "sagemaker:DescribeEndpointConfig"):
        ended = stack.wait(stack.start({"dataset": "not-there", "teardown": "on_failure"}))
    assert ended["error"] == "DatasetNotFound"
    assert_failed_for(ended, "TearDown", "sagemaker:DescribeEndpointConfig")


def test_a_result_that_cannot_be_published_fails_the_run(stack: DeployedStack) -> None:
    # A file that is never a corpus: the run would end well, as Skipped.
    upload = {"bucket": stack.bucket, "key": "uploads/notes/README", "etag": "e", "size": 1}
    with without(stack, "ReportRole", "sns:Publish"):
        ended = stack.wait(stack.start({"upload": upload}))
    assert_failed_for(ended, "Report", "sns:Publish")


# --- the role that SageMaker runs as ---


@pytest.mark.parametrize(
    ("action", "on", "said"),
    [
        ("s3:GetObject", "/prepared/", "s3:GetObject"),
        # The toolkit asks for the code's head first, and S3 says no more than 403 to a HEAD request.
        ("s3:GetObject", "/code/", "HeadObject operation: Forbidden"),
        ("s3:PutObject", "/runs/", "s3:PutObject"),
        ("s3:PutObject", "/checkpoints/", "Checkpoint upload failed"),
    ],
)
def test_the_training_job_fails_without_its_data(
    stack: DeployedStack, corpus: str, action: str, on: str, said: str
) -> None:
    with without(stack, "ExecutionRole", action, on):
        ended = stack.wait(stack.start(RUN))
    assert ended["error"] == "TrainingFailed"
    assert_failed_for(ended, "Train", said)


# --- steps that come after training ---


@pytest.fixture(scope="module")
def trained_runs(stack: DeployedStack, corpus: str) -> list[str]:
    """Four runs whose jobs are done and who wait to be told, since the events of their jobs were lost.

    Training is most of a run's time, so the runs train at once and each test goes on with one of them.
    """
    events, states = stack.cloud.client("events"), stack.cloud.client("stepfunctions")
    events.disable_rule(Name="lexline-training-job")
    try:
        runs = [stack.start(RUN) for _ in range(4)]
        for run in runs:
            until(partial(is_trained, stack, run), seconds=150)
    finally:
        events.enable_rule(Name="lexline-training-job")
    assert {states.describe_execution(executionArn=run)["status"] for run in runs} == {"RUNNING"}
    return runs


def job_of(stack: DeployedStack, execution: str) -> dict[str, Any] | None:
    """The summary of the execution's training job, if it has one; the name ends with the execution's hash."""
    sagemaker, digest = stack.cloud.client("sagemaker"), hashlib.sha256(execution.encode()).hexdigest()
    found = sagemaker.list_training_jobs(NameContains=digest[:12])["TrainingJobSummaries"]
    return found[0] if found else None


def is_trained(stack: DeployedStack, execution: str) -> bool:
    job = job_of(stack, execution)
    return job is not None and job["TrainingJobStatus"] == "Completed"


def bring_event(stack: DeployedStack, execution: str) -> dict[str, Any]:
    """Give the callback the event of the run's finished job; its answer."""
    job = job_of(stack, execution)
    assert job
    event = json.dumps({"resources": [job["TrainingJobArn"]]}).encode()
    answer = stack.cloud.client("lambda").invoke(FunctionName="lexline-callback", Payload=event)
    parsed: dict[str, Any] = json.loads(answer["Payload"].read())
    return parsed


@pytest.mark.parametrize(
    "action", ["dynamodb:GetItem", "sagemaker:DescribeTrainingJob", "states:SendTaskSuccess"]
)
def test_the_callback_cannot_wake_a_run_without_its_permissions(
    stack: DeployedStack, trained_runs: list[str], action: str
) -> None:
    states = stack.cloud.client("stepfunctions")
    with without(stack, "CallbackRole", action):
        failure = bring_event(stack, trained_runs[0])
    assert failure["errorType"] == "AccessDenied"
    assert action in failure["errorMessage"]
    assert states.describe_execution(executionArn=trained_runs[0])["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("turn", "role", "action", "on", "step"),
    [
        (0, "StateMachineRole", "lambda:InvokeFunction", ":lexline-evaluate", "Evaluate"),
        (1, "ModelRole", "sagemaker:CreateModel", "", "CreateModel"),
        (2, "DeployRole", "sagemaker:CreateEndpointConfig", "", "Deploy"),
        (3, "SmokeTestRole", "sagemaker:InvokeEndpoint", "", "SmokeTest"),
    ],
)
def test_a_trained_run_fails_where_its_step_lacks_a_permission(
    stack: DeployedStack, trained_runs: list[str], turn: int, role: str, action: str, on: str, step: str
) -> None:
    with without(stack, role, action, on):
        bring_event(stack, trained_runs[turn])
        ended = stack.wait(trained_runs[turn])
    assert_failed_for(ended, step, action)


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
