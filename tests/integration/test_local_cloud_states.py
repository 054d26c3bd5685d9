"""Step Functions in the local cloud: errors by name, task tokens, and ends of executions, as on AWS."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

INVOKE = "arn:aws:states:::lambda:invoke"
WAIT = f"{INVOKE}.waitForTaskToken"

RAISES = """
    class InvalidDataset(Exception):
        pass

    def handler(event, context):
        raise InvalidDataset("no corpus in the archive")
"""
RETURNS = "def handler(event, context): return {'got': event}"
SILENT = "def handler(event, context): pass"


def task(resource: str, function: str, payload: Any = None, **more: Any) -> dict[str, Any]:
    arguments = {
        "FunctionName": function,
        "Payload": payload if payload is not None else "{% $states.input %}",
    }
    state = {"Type": "Task", "Resource": resource, "Arguments": arguments, **more}
    return state if "Next" in state else {**state, "End": True}


def catching(*errors: str) -> dict[str, Any]:
    return {
        "Catch": [{"ErrorEquals": list(errors), "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
    }


def one(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A machine of one task, and the state its Catch leads to."""
    return {"StartAt": "Task", "States": {"Task": state, "Caught": {"Type": "Pass", "End": True}}, **more}


def tokens(lab: Any, client: Callable[..., Any]) -> tuple[str, str]:
    """A queue, and a function that puts each event it gets, token and all, into it."""
    queue = client("sqs").create_queue(QueueName=f"tokens-{uuid.uuid4().hex}")["QueueUrl"]
    role = lab.role("lambda.amazonaws.com", {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"})
    source = f"""
        import boto3, json
        def handler(event, context):
            boto3.client("sqs").send_message(QueueUrl={queue!r}, MessageBody=json.dumps(event))
    """
    return queue, lab.function(source, role=role)


@pytest.fixture
def next_message(client: Callable[..., Any], until: Callable[..., Any]) -> Callable[[str], Any]:
    def receive(queue: str) -> Any:
        found = until(lambda: client("sqs").receive_message(QueueUrl=queue).get("Messages"), "a message")
        client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=found[0]["ReceiptHandle"])
        return json.loads(found[0]["Body"])

    return receive


# --- errors by name ---


@pytest.mark.parametrize("resource", [INVOKE, WAIT])
def test_an_exception_is_caught_by_its_classs_name(lab: Any, resource: str) -> None:
    machine = lab.machine(one(task(resource, lab.function(RAISES), **catching("InvalidDataset"))))
    output = lab.run(machine)["output"]
    assert output["Error"] == "InvalidDataset"
    cause = json.loads(output["Cause"])
    assert cause["errorMessage"] == "no corpus in the archive"
    assert cause["errorType"] == "InvalidDataset"
    assert cause["stackTrace"]


def test_a_waiting_task_fails_at_once_when_its_function_does(lab: Any) -> None:
    machine = lab.machine(one(task(WAIT, lab.function(RAISES), TimeoutSeconds=3600)))
    ended = lab.run(machine)
    assert ended["status"] == "FAILED"
    assert ended["error"] == "InvalidDataset"


@pytest.mark.parametrize("resource", [INVOKE, WAIT])
def test_the_machines_role_must_allow_invoking_the_function(lab: Any, resource: str) -> None:
    function = lab.function(RETURNS)
    role = lab.role("states.amazonaws.com")
    machine = lab.machine(one(task(resource, function, **catching("Lambda.AWSLambdaException"))), role=role)
    output = lab.run(machine)["output"]
    assert output["Error"] == "Lambda.AWSLambdaException"
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {function}" in output["Cause"]
    assert role.rsplit("/", 1)[1] in output["Cause"]


# --- task tokens ---


def test_a_task_may_be_answered_before_its_function_returns(lab: Any) -> None:
    role = lab.role(
        "lambda.amazonaws.com", {"Effect": "Allow", "Action": "states:SendTask*", "Resource": "*"}
    )
    function = lab.function(
        """
        import boto3
        def handler(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output='{"done": true}')
        """,
        role=role,
    )
    state = task(WAIT, function, {"token": "{% $states.context.Task.Token %}"}, TimeoutSeconds=20)
    assert lab.run(lab.machine(one(state)))["output"] == {"done": True}


def test_the_context_names_execution_state_and_token(lab: Any, client: Any, next_message: Any) -> None:
    queue, function = tokens(lab, client)
    payload = {
        "execution": "{% $states.context.Execution.Id %}",
        "name": "{% $states.context.Execution.Name %}",
        "started": "{% $states.context.Execution.StartTime %}",
        "input": "{% $states.context.Execution.Input %}",
        "entered": "{% $states.context.State.EnteredTime %}",
        "token": "{% $states.context.Task.Token %}",
    }
    execution = lab.start(lab.machine(one(task(WAIT, function, payload))), {"dataset": "sotu"})
    message = next_message(queue)
    assert message["execution"] == execution
    assert message["name"] == execution.rsplit(":", 1)[1]
    assert message["input"] == {"dataset": "sotu"}
    assert message["started"] <= message["entered"]
    client("stepfunctions").send_task_failure(taskToken=message["token"], error="Mine", cause="because")
    ended = lab.finish(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "Mine", "because")


def test_a_token_that_nobody_answers_times_out_and_is_worth_nothing_then(
    lab: Any, client: Any, next_message: Any
) -> None:
    queue, function = tokens(lab, client)
    payload = {"token": "{% $states.context.Task.Token %}"}
    state = task(WAIT, function, payload, TimeoutSeconds=1, **catching("States.Timeout"))
    execution = lab.start(lab.machine(one(state)))
    token = next_message(queue)["token"]
    assert lab.finish(execution)["output"]["Error"] == "States.Timeout"
    with pytest.raises(ClientError, match="TaskTimedOut"):
        client("stepfunctions").send_task_success(taskToken=token, output="{}")


@pytest.mark.parametrize(
    ("operation", "answer", "end"),
    [("SendTaskSuccess", {"output": "{}"}, "SUCCEEDED"), ("SendTaskFailure", {"error": "Mine"}, "FAILED")],
)
def test_a_token_is_answered_by_who_may_answer_its_machine(
    lab: Any, client: Any, next_message: Any, operation: str, answer: dict[str, str], end: str
) -> None:
    queue, function = tokens(lab, client)
    machine = lab.machine(one(task(WAIT, function, {"token": "{% $states.context.Task.Token %}"})))
    execution = lab.start(machine)
    token = next_message(queue)["token"]

    def answer_allowed_to(of: str) -> None:
        allowed = {"Effect": "Allow", "Action": f"states:{operation}", "Resource": of}
        states = lab.client_as("stepfunctions", allowed)
        send = {"SendTaskSuccess": states.send_task_success, "SendTaskFailure": states.send_task_failure}
        send[operation](taskToken=token, **answer)

    with pytest.raises(ClientError, match=f"is not authorized to perform: states:{operation}"):
        answer_allowed_to(f"{machine}-of-somebody-else")
    assert client("stepfunctions").describe_execution(executionArn=execution)["status"] == "RUNNING"
    answer_allowed_to(machine)
    assert lab.finish(execution)["status"] == end


@pytest.mark.parametrize("resource", [INVOKE, WAIT])
def test_a_time_limit_may_be_an_expression(lab: Any, resource: str) -> None:
    function = lab.function("import time\ndef handler(event, context): time.sleep(5)")
    state = task(resource, function, TimeoutSeconds="{% $states.input.limit %}", **catching("States.Timeout"))
    assert lab.run(lab.machine(one(state)), {"limit": 1})["output"]["Error"] == "States.Timeout"


def test_the_first_answer_to_a_token_is_the_only_one(lab: Any, client: Any, next_message: Any) -> None:
    queue, function = tokens(lab, client)
    execution = lab.start(
        lab.machine(one(task(WAIT, function, {"token": "{% $states.context.Task.Token %}"})))
    )
    token = next_message(queue)["token"]
    states = client("stepfunctions")
    states.send_task_success(taskToken=token, output='"first"')
    with pytest.raises(ClientError, match="TaskTimedOut"):
        states.send_task_failure(taskToken=token, error="Second")
    assert lab.finish(execution)["output"] == "first"


def test_a_retried_task_has_a_token_of_its_own(lab: Any, client: Any, next_message: Any) -> None:
    queue, function = tokens(lab, client)
    retry = [{"ErrorEquals": ["Throttled"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    payload = {"token": "{% $states.context.Task.Token %}", "try": "{% $states.context.State.RetryCount %}"}
    execution = lab.start(lab.machine(one(task(WAIT, function, payload, Retry=retry))))
    states = client("stepfunctions")
    first = next_message(queue)
    states.send_task_failure(taskToken=first["token"], error="Throttled")
    second = next_message(queue)
    assert (first["try"], second["try"]) == (0, 1)
    with pytest.raises(ClientError, match="TaskTimedOut"):
        states.send_task_success(taskToken=first["token"], output='"stale"')
    states.send_task_success(taskToken=second["token"], output='"fresh"')
    assert lab.finish(execution)["output"] == "fresh"


# --- the ends of executions ---


def test_a_stopped_execution_stays_aborted_and_its_token_is_worth_nothing(
    lab: Any, client: Any, next_message: Any
) -> None:
    queue, function = tokens(lab, client)
    state = task(WAIT, function, {"token": "{% $states.context.Task.Token %}"}, **catching("States.ALL"))
    execution = lab.start(lab.machine(one(state)))
    token = next_message(queue)["token"]
    states = client("stepfunctions")
    states.stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    with pytest.raises(ClientError, match="TaskTimedOut"):
        states.send_task_failure(taskToken=token, error="Late")
    assert lab.finish(execution)["status"] == "ABORTED"
    history = states.get_execution_history(executionArn=execution)["events"]
    assert history[-1]["type"] == "ExecutionAborted"


SLOW = """
    import boto3, time
    def handler(event, context):
        boto3.client("sqs").send_message(QueueUrl={queue!r}, MessageBody="called")
        time.sleep({seconds})
        if {fails}:
            raise RuntimeError("not this time")
"""


@pytest.mark.parametrize(
    "around",
    [
        lambda *tasks: {"StartAt": "0", "States": dict(tasks)},
        lambda *tasks: {
            "StartAt": "Both",
            "States": {
                "Both": {
                    "Type": "Parallel",
                    "Branches": [{"StartAt": "0", "States": dict(tasks)}],
                    "End": True,
                }
            },
        },
    ],
    ids=["machine", "branch"],
)
@pytest.mark.parametrize("fails", [False, True], ids=["next", "retry"])
def test_a_stopped_execution_calls_nobody_any_more(
    lab: Any, client: Any, until: Any, around: Any, fails: bool
) -> None:
    queue = client("sqs").create_queue(QueueName=f"calls-{uuid.uuid4().hex}")["QueueUrl"]
    send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    function = lab.function(
        SLOW.format(queue=queue, seconds=1, fails=fails), role=lab.role("lambda.amazonaws.com", send)
    )
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 5}
    first = task(INVOKE, function, Retry=[retry], **catching("States.ALL"), Next="Caught")
    execution = lab.start(lab.machine(around(("0", first), ("Caught", task(INVOKE, function)))))

    def calls() -> int:
        counted = client("sqs").get_queue_attributes(
            QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(counted["Attributes"]["ApproximateNumberOfMessages"])

    until(lambda: calls() == 1, "the first call")
    states = client("stepfunctions")
    states.stop_execution(executionArn=execution)
    history = states.get_execution_history(executionArn=execution)["events"]
    # Until the call that was under way is over, and a next one would be.
    time.sleep(3)
    assert calls() == 1
    assert states.get_execution_history(executionArn=execution)["events"] == history
    assert history[-1]["type"] == "ExecutionAborted"
    assert states.describe_execution(executionArn=execution)["status"] == "ABORTED"


def test_a_machines_own_time_limit_ends_the_execution(lab: Any) -> None:
    state = task(WAIT, lab.function(SILENT), **catching("States.ALL"))
    ended = lab.run(lab.machine(one(state, TimeoutSeconds=1)))
    assert ended["status"] == "TIMED_OUT"


def test_one_assign_sees_the_variables_as_they_were(lab: Any) -> None:
    states = {
        "First": {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"},
        "Swap": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Show"},
        "Show": {"Type": "Pass", "Output": {"a": "{% $a %}", "b": "{% $b %}"}, "End": True},
    }
    assert lab.run(lab.machine({"StartAt": "First", "States": states}))["output"] == {"a": 2, "b": 1}


def test_a_machines_history_goes_to_its_log_group(lab: Any, client: Any) -> None:
    group = f"/aws/vendedlogs/states/{uuid.uuid4().hex}"
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"
    configuration = {
        "level": "ERROR",
        "includeExecutionData": False,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}],
    }
    machine = lab.machine(one(task(INVOKE, lab.function(RAISES))))
    client("stepfunctions").update_state_machine(stateMachineArn=machine, loggingConfiguration=configuration)
    execution = lab.start(machine, {"dataset": "sotu"})
    lab.finish(execution)
    events = client("logs").filter_log_events(logGroupName=group)["events"]
    lines = [json.loads(event["message"]) for event in events]
    assert [line["type"] for line in lines] == ["TaskFailed", "ExecutionFailed"]
    assert {line["execution_arn"] for line in lines} == {execution}
    assert lines[0]["details"]["error"] == "InvalidDataset"


# --- TestState ---

TESTED = one(
    task(
        INVOKE,
        "a-function",
        {"token": "{% $states.input.a %}", "run": "{% $run %}"},
        Assign={"run": "{% $states.result.Payload.run %}"},
        Output="{% $states.result.Payload.text %}",
        Retry=[{"ErrorEquals": ["Throttled"], "MaxAttempts": 2}],
        Catch=[{"ErrorEquals": ["States.ALL"], "Assign": {"run": "gone"}, "Next": "Caught"}],
        Next="Caught",
    ),
    QueryLanguage="JSONata",
)


def alone(client: Any, **more: Any) -> dict[str, Any]:
    answer = client("stepfunctions").test_state(
        definition=json.dumps(TESTED),
        stateName="Task",
        input='{"a": 1}',
        variables='{"run": "first"}',
        inspectionLevel="DEBUG",
        **more,
    )
    inspected = {name: json.loads(value) for name, value in answer.get("inspectionData", {}).items()}
    return {**answer, "inspectionData": inspected}


def test_a_state_can_be_tested_by_itself(client: Any) -> None:
    answer = alone(client, mock={"result": '{"Payload": {"run": "second", "text": "So it goes."}}'})
    assert (answer["status"], answer["nextState"], answer["output"]) == (
        "SUCCEEDED",
        "Caught",
        '"So it goes."',
    )
    assert answer["inspectionData"]["afterArguments"]["Payload"] == {"token": 1, "run": "first"}
    assert answer["inspectionData"]["variables"] == {"run": "second"}


def test_a_tested_state_retries_before_it_catches(client: Any) -> None:
    mock = {"errorOutput": {"error": "Throttled", "cause": "slow down"}}
    assert alone(client, mock=mock)["status"] == "RETRIABLE"
    answer = alone(client, mock=mock, stateConfiguration={"retrierRetryCount": 2})
    assert (answer["status"], answer["nextState"], answer["error"]) == ("CAUGHT_ERROR", "Caught", "Throttled")
    assert json.loads(answer["output"]) == {"Error": "Throttled", "Cause": "slow down"}
    assert answer["inspectionData"]["variables"] == {"run": "gone"}


def test_a_tested_state_may_call_its_function(lab: Any, client: Any) -> None:
    state = {
        **task(INVOKE, lab.function(RETURNS), {"token": "{% $states.input.a %}"}),
        "QueryLanguage": "JSONata",
    }
    role = lab.role("states.amazonaws.com")
    answer = client("stepfunctions").test_state(definition=json.dumps(state), roleArn=role, input='{"a": 1}')
    assert json.loads(answer["output"])["Payload"] == {"got": {"token": 1}}
