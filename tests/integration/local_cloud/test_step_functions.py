"""Step Functions: errors by name, task tokens, the ends of executions, and TestState."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.lab import FUNCTION_SECONDS, Lab, allow, unique
from tests.waiting import wait_until

INVOKE = "arn:aws:states:::lambda:invoke"
WAIT = f"{INVOKE}.waitForTaskToken"
Start = Callable[..., tuple[str, str, str]]

TOKEN = {"token": "{% $states.context.Task.Token %}"}

RAISES = """
    class InvalidDataset(Exception):
        pass

    def handler(event, context):
        raise InvalidDataset("no corpus in the archive")
"""
RETURNS = "def handler(event, context): return {'event': event}"
SLEEPS = "import time\ndef handler(event, context): time.sleep(60)"


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
    """A state machine with one task, and the next state of its Catch."""
    return {"StartAt": "Task", "States": {"Task": state, "Caught": {"Type": "Pass", "End": True}}, **more}


# --- errors by name ---


@pytest.mark.parametrize("resource", [INVOKE, WAIT])
def test_a_catch_matches_the_exceptions_class(lab: Lab, resource: str) -> None:
    machine = lab.machine(one(task(resource, lab.function(RAISES), **catching("InvalidDataset"))))
    output = lab.run(machine)["output"]
    assert output["Error"] == "InvalidDataset"
    cause = json.loads(output["Cause"])
    assert cause["errorMessage"] == "no corpus in the archive"
    assert cause["errorType"] == "InvalidDataset"
    assert cause["stackTrace"]


def test_a_waiting_task_fails_with_its_function(lab: Lab) -> None:
    machine = lab.machine(one(task(WAIT, lab.function(RAISES), TimeoutSeconds=3600)))
    ended = lab.run(machine)
    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidDataset")


@pytest.mark.parametrize("resource", [INVOKE, WAIT])
def test_the_machines_role_must_allow_the_invocation(lab: Lab, resource: str) -> None:
    function, role = lab.function(RETURNS), lab.role("states.amazonaws.com")
    machine = lab.machine(one(task(resource, function, **catching("Lambda.AWSLambdaException"))), role=role)
    output = lab.run(machine)["output"]
    assert output["Error"] == "Lambda.AWSLambdaException"
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {function}" in output["Cause"]
    assert role.rsplit("/", 1)[1] in output["Cause"]


# --- starting and listing executions ---

PASS = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}
MISSING = "arn:aws:states:us-east-1:000000000000:stateMachine:no"
ILLEGAL = ' \t\n<>{}[]?*"#%\\^|~`$&,;:/\x00\x7f\x9f\ufffe'
PAUSE = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    """Make a call that must fail; return the error's code."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return str(refused.value.response["Error"]["Code"])


@pytest.mark.parametrize("name", ["a", "a" * 80, "A-b_c.1", "weiß", "a(b)=c+d@e!'"])
def test_a_legal_name_is_accepted(lab: Lab, name: str) -> None:
    machine = lab.machine(PASS)
    request = {"name": name, "input": '{"größe": [1]}', "traceHeader": "Root=1-5759e988-bd862e3fe1be46a9"}
    started = lab.states.start_execution(stateMachineArn=machine, **request)
    assert lab.finish(started["executionArn"])["output"] == {"größe": [1]}


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        *(("InvalidName", {"name": f"a{character}b"}) for character in ILLEGAL),
        ("ValidationException", {"name": "a" * 81}),
        ("InvalidExecutionInput", {"input": "{bad"}),
        ("InvalidExecutionInput", {"input": ""}),
        ("InvalidExecutionInput", {"input": '{"a": NaN}'}),
        ("InvalidExecutionInput", {"input": "{} {}"}),
        ("ValidationException", {"input": f'"{"ä" * 131_072}"'}),
        ("StateMachineDoesNotExist", {"stateMachineArn": MISSING}),
    ],
)
def test_an_execution_that_aws_would_not_start_is_refused(
    lab: Lab, code: str, request_: dict[str, str]
) -> None:
    machine = lab.machine(PASS)
    assert refusal(lab.states.start_execution, **{"stateMachineArn": machine, **request_}) == code
    assert lab.executions(machine) == []


def test_an_input_may_have_256_kibibytes(lab: Lab) -> None:
    lab.start(lab.machine(PASS), "x" * (262_144 - len('""')))


def test_a_name_is_used_once_and_repeating_its_request_is_harmless(lab: Lab) -> None:
    machine = lab.machine(PAUSE)
    request = {"stateMachineArn": machine, "name": "once", "input": "{}"}
    first = lab.states.start_execution(**request)
    again = lab.states.start_execution(**request)
    assert (again["executionArn"], again["startDate"]) == (first["executionArn"], first["startDate"])
    assert refusal(lab.states.start_execution, **{**request, "input": "[]"}) == "ExecutionAlreadyExists"
    lab.states.stop_execution(executionArn=first["executionArn"])
    assert refusal(lab.states.start_execution, **request) == "ExecutionAlreadyExists"


def test_only_an_express_machine_runs_synchronously(lab: Lab) -> None:
    express = lab.machine(PASS, type="EXPRESS")
    run = lab.states.start_sync_execution
    assert run(stateMachineArn=express, input='{"a": 1}')["output"] == '{"a": 1}'
    assert refusal(run, stateMachineArn=lab.machine(PASS)) == "StateMachineTypeNotSupported"
    assert refusal(run, stateMachineArn=express, input="{bad") == "InvalidExecutionInput"
    assert refusal(run, stateMachineArn=express, name="a b") == "InvalidName"


def test_executions_are_listed_by_status_in_the_documented_order(lab: Lab) -> None:
    """Running executions count by their start, and all others by their end."""
    machine = lab.machine(PAUSE)
    first, second, third = [lab.start(machine) for _ in range(3)]
    lab.states.stop_execution(executionArn=first)

    def listed(**more: str) -> list[str]:
        found = lab.states.list_executions(stateMachineArn=machine, **more)["executions"]
        return [execution["executionArn"] for execution in found]

    assert listed() == [first, third, second]
    assert listed(statusFilter="RUNNING") == [third, second]
    assert listed(statusFilter="ABORTED") == [first]
    assert listed(statusFilter="FAILED") == []


def test_a_page_of_executions_has_100_unless_the_request_says_more(lab: Lab) -> None:
    machine = lab.machine(PASS)
    started = {lab.start(machine) for _ in range(101)}
    wait_until(
        lambda: not lab.states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"],
        "the executions to end",
    )
    first = lab.states.list_executions(stateMachineArn=machine)
    rest = lab.states.list_executions(stateMachineArn=machine, nextToken=first["nextToken"])
    assert (len(first["executions"]), len(rest["executions"])) == (100, 1)
    assert "nextToken" not in rest
    pages = [*first["executions"], *rest["executions"]]
    assert {execution["executionArn"] for execution in pages} == started
    assert len(lab.states.list_executions(stateMachineArn=machine, maxResults=1000)["executions"]) == 101


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("ValidationException", {"statusFilter": "RUNING"}),
        ("ValidationException", {"statusFilter": "PENDING_REDRIVE"}),
        ("ValidationException", {"maxResults": 1001}),
        ("InvalidToken", {"nextToken": "x"}),
        ("StateMachineDoesNotExist", {"stateMachineArn": MISSING}),
    ],
)
def test_a_list_that_aws_would_not_return_is_refused(lab: Lab, code: str, request_: dict[str, Any]) -> None:
    machine = lab.machine(PASS)
    assert refusal(lab.states.list_executions, **{"stateMachineArn": machine, **request_}) == code


# --- task tokens ---


@pytest.fixture
def start_waiting(lab: Lab) -> Start:
    """start_waiting(field=...): a machine, its execution, and the token for which its only task waits."""

    def start(**fields: Any) -> tuple[str, str, str]:
        queue, function = lab.recorder()
        machine = lab.machine(one(task(WAIT, function, TOKEN, **fields)))
        execution = lab.start(machine)
        return machine, execution, lab.receive(queue)["token"]

    return start


def test_a_task_may_be_completed_before_its_function_returns(lab: Lab) -> None:
    source = """
        import boto3
        def handler(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output='{"done": true}')
    """
    function = lab.function(source, role=lab.role("lambda.amazonaws.com", allow("states:SendTask*")))
    state = task(WAIT, function, TOKEN, TimeoutSeconds=FUNCTION_SECONDS)
    assert lab.run(lab.machine(one(state)))["output"] == {"done": True}


def test_the_context_names_execution_state_and_token(lab: Lab) -> None:
    queue, function = lab.recorder()
    payload = {
        "execution": "{% $states.context.Execution.Id %}",
        "name": "{% $states.context.Execution.Name %}",
        "started": "{% $states.context.Execution.StartTime %}",
        "input": "{% $states.context.Execution.Input %}",
        "entered": "{% $states.context.State.EnteredTime %}",
        **TOKEN,
    }
    execution = lab.start(lab.machine(one(task(WAIT, function, payload))), {"dataset": "sotu"})
    message = lab.receive(queue)
    assert message["execution"] == execution
    assert message["name"] == execution.rsplit(":", 1)[1]
    assert message["input"] == {"dataset": "sotu"}
    assert message["started"] <= message["entered"]
    lab.states.send_task_failure(taskToken=message["token"], error="Mine", cause="because")
    ended = lab.finish(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "Mine", "because")


def test_a_token_that_timed_out_is_invalid(lab: Lab, start_waiting: Start) -> None:
    _, execution, token = start_waiting(TimeoutSeconds=1, **catching("States.Timeout"))
    assert lab.finish(execution)["output"]["Error"] == "States.Timeout"
    with pytest.raises(ClientError, match="TaskTimedOut"):
        lab.states.send_task_success(taskToken=token, output="{}")


@pytest.mark.parametrize(
    ("operation", "fields", "end"),
    [("SendTaskSuccess", {"output": "{}"}, "SUCCEEDED"), ("SendTaskFailure", {"error": "Mine"}, "FAILED")],
)
def test_a_tokens_machine_authorizes_the_response(
    lab: Lab, start_waiting: Start, operation: str, fields: dict[str, str], end: str
) -> None:
    machine, execution, token = start_waiting()

    def send_allowed_on(resource: str) -> None:
        states = lab.client_as("stepfunctions", allow(f"states:{operation}", resource))
        send = {"SendTaskSuccess": states.send_task_success, "SendTaskFailure": states.send_task_failure}
        send[operation](taskToken=token, **fields)

    with pytest.raises(ClientError, match=f"is not authorized to perform: states:{operation}"):
        send_allowed_on(f"{machine}-of-another")
    assert lab.describe(execution)["status"] == "RUNNING"
    send_allowed_on(machine)
    assert lab.finish(execution)["status"] == end


@pytest.mark.parametrize("resource", [INVOKE, WAIT])
def test_a_time_limit_may_be_an_expression(lab: Lab, resource: str) -> None:
    limit = "{% $states.input.limit %}"
    state = task(resource, lab.function(SLEEPS), TimeoutSeconds=limit, **catching("States.Timeout"))
    assert lab.run(lab.machine(one(state)), {"limit": 1})["output"]["Error"] == "States.Timeout"


def test_a_token_is_valid_for_one_response(lab: Lab, start_waiting: Start) -> None:
    _, execution, token = start_waiting()
    lab.states.send_task_success(taskToken=token, output='"first"')
    with pytest.raises(ClientError, match="TaskTimedOut"):
        lab.states.send_task_failure(taskToken=token, error="Second")
    assert lab.finish(execution)["output"] == "first"


def test_each_attempt_has_a_token_of_its_own(lab: Lab) -> None:
    queue, function = lab.recorder()
    retry = [{"ErrorEquals": ["Throttled"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    payload = {**TOKEN, "retries": "{% $states.context.State.RetryCount %}"}
    execution = lab.start(lab.machine(one(task(WAIT, function, payload, Retry=retry))))
    first = lab.receive(queue)
    lab.states.send_task_failure(taskToken=first["token"], error="Throttled")
    second = lab.receive(queue)
    assert (first["retries"], second["retries"]) == (0, 1)
    with pytest.raises(ClientError, match="TaskTimedOut"):
        lab.states.send_task_success(taskToken=first["token"], output='"stale"')
    lab.states.send_task_success(taskToken=second["token"], output='"fresh"')
    assert lab.finish(execution)["output"] == "fresh"


# --- the ends of executions ---


def test_a_stopped_execution_stays_aborted_and_its_token_is_invalid(lab: Lab, start_waiting: Start) -> None:
    _, execution, token = start_waiting(**catching("States.ALL"))
    lab.states.stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    with pytest.raises(ClientError, match="TaskTimedOut"):
        lab.states.send_task_failure(taskToken=token, error="Late")
    assert lab.finish(execution)["status"] == "ABORTED"
    history = lab.states.get_execution_history(executionArn=execution)["events"]
    assert history[-1]["type"] == "ExecutionAborted"


# Puts its caller into a queue, and waits for a message of the caller's own queue.
WAITS = """
    import boto3, json, os
    sqs = boto3.client("sqs")
    def handler(event, context):
        sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event["execution"]))
        while not sqs.receive_message(QueueUrl=event["go"], WaitTimeSeconds=1).get("Messages"):
            pass
        if os.environ["FAILS"] == "yes":
            raise RuntimeError("not this time")
"""


@pytest.mark.parametrize("place", ["machine", "branch"])
@pytest.mark.parametrize(("following", "fails"), [("next", "no"), ("retry", "yes")])
def test_a_stopped_execution_invokes_no_more_functions(
    lab: Lab, place: str, following: str, fails: str
) -> None:
    queue, function = lab.recorder(WAITS, allow("sqs:ReceiveMessage"), FAILS=fails)
    payload = {
        "execution": "{% $states.context.Execution.Id %}",
        "go": "{% $states.context.Execution.Input %}",
    }
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}
    first = task(INVOKE, function, payload, Retry=[retry], Next="Second")
    definition = {"StartAt": "First", "States": {"First": first, "Second": task(INVOKE, function, payload)}}
    if place == "branch":
        parallel = {"Type": "Parallel", "Branches": [definition], "End": True}
        definition = {"StartAt": "Both", "States": {"Both": parallel}}
    machine = lab.machine(definition)

    def go(waiting: str) -> None:
        # More messages than the execution has invocations.
        for _ in range(4):
            lab.sqs.send_message(QueueUrl=waiting, MessageBody="go")

    go_queue = lab.queue()
    stopped = lab.start(machine, go_queue)
    assert lab.receive(queue) == stopped
    lab.states.stop_execution(executionArn=stopped)
    history = lab.states.get_execution_history(executionArn=stopped)["events"]
    go(go_queue)
    # While another execution runs from its start to its end, the stopped one would have continued.
    go(go_queue := lab.queue())
    other = lab.run(machine, go_queue)["executionArn"]
    assert [lab.receive(queue) for _ in range(2)] == [other, other]
    assert lab.count(queue) == 0
    assert lab.states.get_execution_history(executionArn=stopped)["events"] == history
    assert history[-1]["type"] == "ExecutionAborted"
    assert lab.describe(stopped)["status"] == "ABORTED"


def test_a_machines_own_time_limit_ends_the_execution(lab: Lab) -> None:
    _, function = lab.recorder()
    state = task(WAIT, function, **catching("States.ALL"))
    assert lab.run(lab.machine(one(state, TimeoutSeconds=1)))["status"] == "TIMED_OUT"


def test_every_expression_of_an_assign_sees_the_former_variables(lab: Lab) -> None:
    states = {
        "First": {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"},
        "Swap": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Show"},
        "Show": {"Type": "Pass", "Output": {"a": "{% $a %}", "b": "{% $b %}"}, "End": True},
    }
    assert lab.run(lab.machine({"StartAt": "First", "States": states}))["output"] == {"a": 2, "b": 1}


def test_a_machines_log_group_gets_the_history(lab: Lab) -> None:
    group = f"/aws/vendedlogs/states/{unique('log')}"
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"
    configuration = {
        "level": "ERROR",
        "includeExecutionData": False,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}],
    }
    machine = lab.machine(one(task(INVOKE, lab.function(RAISES))))
    lab.states.update_state_machine(stateMachineArn=machine, loggingConfiguration=configuration)
    execution = lab.run(machine, {"dataset": "sotu"})["executionArn"]
    # An execution's status changes before the last line of its log.
    lines = [
        json.loads(line) for line in wait_until(lambda: lab.log(group)[1:] and lab.log(group), "the log")
    ]
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


def run_state(lab: Lab, **more: Any) -> dict[str, Any]:
    response = lab.states.test_state(
        definition=json.dumps(TESTED),
        stateName="Task",
        input='{"a": 1}',
        variables='{"run": "first"}',
        inspectionLevel="DEBUG",
        **more,
    )
    inspection = {name: json.loads(value) for name, value in response.get("inspectionData", {}).items()}
    return {**response, "inspectionData": inspection}


def test_a_state_can_be_tested_with_a_mock(lab: Lab) -> None:
    response = run_state(lab, mock={"result": '{"Payload": {"run": "second", "text": "So it goes."}}'})
    assert (response["status"], response["nextState"]) == ("SUCCEEDED", "Caught")
    assert response["output"] == '"So it goes."'
    assert response["inspectionData"]["afterArguments"]["Payload"] == {"token": 1, "run": "first"}
    assert response["inspectionData"]["variables"] == {"run": "second"}


def test_a_tested_state_retries_before_it_catches(lab: Lab) -> None:
    mock = {"errorOutput": {"error": "Throttled", "cause": "slow down"}}
    assert run_state(lab, mock=mock)["status"] == "RETRIABLE"
    response = run_state(lab, mock=mock, stateConfiguration={"retrierRetryCount": 2})
    assert (response["status"], response["nextState"]) == ("CAUGHT_ERROR", "Caught")
    assert response["error"] == "Throttled"
    assert json.loads(response["output"]) == {"Error": "Throttled", "Cause": "slow down"}
    assert response["inspectionData"]["variables"] == {"run": "gone"}


def test_a_tested_state_may_invoke_its_function(lab: Lab) -> None:
    state = task(INVOKE, lab.function(RETURNS), {"token": "{% $states.input.a %}"}) | {
        "QueryLanguage": "JSONata"
    }
    role = lab.role("states.amazonaws.com")
    response = lab.states.test_state(definition=json.dumps(state), roleArn=role, input='{"a": 1}')
    assert json.loads(response["output"])["Payload"] == {"event": {"token": 1}}
