"""Step Functions: Map states in distributed mode."""

import json
import re
from typing import Any

import pytest

from tests.integration.lab import Lab, allow, unique
from tests.waiting import wait_until

INVOKE = "arn:aws:states:::lambda:invoke"
RETURNS = "def handler(event, context): return event"
FAILS_AT_ONE = """
    def handler(event, context):
        if event["item"] == 1:
            raise RuntimeError("one")
        return event
"""
STARTS = ["states:StartExecution", "states:DescribeExecution", "states:StopExecution"]


def child(*states: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """An ItemProcessor with these states, one after the other."""
    names = [name for name, _ in states]
    return {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": names[0],
        "States": {
            name: {**state, **({"Next": after} if after else {"End": True})}
            for (name, state), after in zip(states, [*names[1:], None], strict=True)
        },
    }


def mapping(processor: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A state machine that assigns variables and runs a distributed Map."""
    return {
        "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Assign": {"greeting": "hello", "most": 2}, "Next": "Map"},
            "Map": {"Type": "Map", "Label": "Items", "ItemProcessor": processor, **fields, "End": True},
        },
    }


def invoke(function: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": function, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
    }


@pytest.fixture
def role(lab: Lab) -> str:
    """A role with all permissions that a distributed Map and its functions need."""
    return lab.role("states.amazonaws.com", allow(["lambda:InvokeFunction", "s3:GetObject", *STARTS]))


def plan(lab: Lab, content: str) -> dict[str, Any]:
    """Put items into a bucket; return the ItemReader's arguments."""
    bucket = unique("bucket")
    s3 = lab.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="plan.json", Body=content.encode())
    return {"Bucket": bucket, "Key": "plan.json"}


def reader(source: dict[str, Any]) -> dict[str, Any]:
    return {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Arguments": {"Bucket": source["Bucket"], "Key": "{% $states.input.key %}"},
    }


def map_run(lab: Lab, execution: str) -> dict[str, Any]:
    (listed,) = lab.states.list_map_runs(executionArn=execution)["mapRuns"]
    return dict(lab.states.describe_map_run(mapRunArn=listed["mapRunArn"]))


def children(lab: Lab, run: dict[str, Any]) -> list[dict[str, Any]]:
    listed = lab.states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    return [lab.describe(each["executionArn"]) for each in listed]


def test_items_from_s3_run_as_executions_with_the_fields_as_expressions(lab: Lab, role: str) -> None:
    source = plan(lab, json.dumps(["ä", "b", "c"]))
    definition = mapping(
        child(("Echo", invoke(lab.function(RETURNS)))),
        ItemReader=reader(source),
        ItemSelector={"item": "{% $states.context.Map.Item.Value %}", "greeting": "{% $greeting %}"},
        MaxConcurrency="{% $most %}",
        Assign={"most": "{% $count($states.result) %}"},
        Output="{% {'all': $states.result, 'before': $most} %}",
    )
    ended = lab.run(lab.machine(definition, role=role), source | {"key": source["Key"]})
    assert ended["output"] == {
        "all": [{"item": item, "greeting": "hello"} for item in ("ä", "b", "c")],
        "before": 2,
    }
    run = map_run(lab, ended["executionArn"])
    assert (run["status"], run["maxConcurrency"]) == ("SUCCEEDED", 2)
    assert (run["executionCounts"]["succeeded"], run["executionCounts"]["total"]) == (3, 3)
    assert {each["status"] for each in children(lab, run)} == {"SUCCEEDED"}


def test_a_child_has_its_own_context_and_no_variables_of_its_parent(lab: Lab, role: str) -> None:
    shows = {"Type": "Pass", "Output": "{% $states.context.Execution.Id %}"}
    ended = lab.run(lab.machine(mapping(child(("Show", shows)), Items=[1]), role=role))
    (own,) = ended["output"]
    assert re.search(r":execution:machine-\w+/Items:", own)
    reads = {"Type": "Pass", "Output": "{% $greeting %}"}
    ended = lab.run(lab.machine(mapping(child(("Read", reads)), Items=[1]), role=role))
    assert ended["error"] == "States.ExceedToleratedFailureThreshold"
    (failed,) = children(lab, map_run(lab, ended["executionArn"]))
    assert failed["error"] == "States.QueryEvaluationError"


def test_a_childs_variables_are_its_own(lab: Lab, role: str) -> None:
    keeps = {"Type": "Pass", "Assign": {"greeting": "{% $states.input %}"}}
    shows = {"Type": "Pass", "Output": "{% $greeting %}"}
    definition = mapping(
        child(("Keep", keeps), ("Show", shows)),
        Items=[1, 2],
        Output="{% {'items': $states.result, 'mine': $greeting} %}",
    )
    assert lab.run(lab.machine(definition, role=role))["output"] == {"items": [1, 2], "mine": "hello"}


def test_a_failed_child_fails_the_map_unless_failures_are_tolerated(lab: Lab, role: str) -> None:
    processor = child(("Fail", invoke(lab.function(FAILS_AT_ONE))))
    items = {"Items": [1, 2], "ItemSelector": {"item": "{% $states.context.Map.Item.Value %}"}}
    caught = {"Catch": [{"ErrorEquals": ["States.ExceedToleratedFailureThreshold"], "Next": "Caught"}]}
    definition = mapping(processor, **items, **caught)
    definition["States"]["Caught"] = {"Type": "Pass", "Output": "caught", "End": True}
    ended = lab.run(lab.machine(definition, role=role))
    assert ended["output"] == "caught"
    assert map_run(lab, ended["executionArn"])["status"] == "FAILED"
    tolerant = mapping(processor, **items, ToleratedFailureCount="{% $most - 1 %}")
    ended = lab.run(lab.machine(tolerant, role=role))
    assert ended["output"] == [None, {"item": 2}]
    assert map_run(lab, ended["executionArn"])["executionCounts"]["failed"] == 1


def test_a_child_retries_and_catches(lab: Lab, role: str) -> None:
    catch = [{"ErrorEquals": ["RuntimeError"], "Output": "{% $states.errorOutput.Error %}", "Next": "End"}]
    processor = child(
        ("Fail", {**invoke(lab.function(FAILS_AT_ONE)), "Catch": catch}), ("End", {"Type": "Pass"})
    )
    definition = mapping(processor, Items=[{"item": 1}, {"item": 2}])
    assert lab.run(lab.machine(definition, role=role))["output"] == ["RuntimeError", {"item": 2}]


def test_the_children_of_a_stopped_execution_are_aborted(lab: Lab, role: str) -> None:
    processor = child(("Wait", {"Type": "Wait", "Seconds": 3600}))
    machine = lab.machine(mapping(processor, Items=[1, 2, 3], MaxConcurrency=2), role=role)
    execution = lab.start(machine)
    wait_until(
        lambda: (
            lab.states.list_map_runs(executionArn=execution)["mapRuns"]
            and map_run(lab, execution)["executionCounts"]["running"] == 2
        ),
        "two running children",
    )
    lab.states.stop_execution(executionArn=execution)
    run = map_run(lab, execution)
    assert [each["status"] for each in children(lab, run)] == ["ABORTED", "ABORTED"]
    assert lab.describe(execution)["status"] == "ABORTED"


@pytest.mark.parametrize("missing", STARTS)
def test_the_machines_role_must_allow_the_children(lab: Lab, missing: str) -> None:
    permitted = [action for action in STARTS if action != missing]
    role = lab.role("states.amazonaws.com", allow(permitted))
    machine = lab.machine(mapping(child(("Pass", {"Type": "Pass"})), Items=[1]), role=role)
    ended = lab.run(machine)
    assert ended["status"] == "FAILED"
    assert f"is not authorized to perform: {missing} on resource: arn:aws:states:" in ended["cause"]


def test_the_machines_role_must_allow_to_read_the_items(lab: Lab) -> None:
    source = plan(lab, "[1]")
    role = lab.role("states.amazonaws.com", allow(STARTS))
    machine = lab.machine(mapping(child(("Pass", {"Type": "Pass"})), ItemReader=reader(source)), role=role)
    ended = lab.run(machine, source | {"key": source["Key"]})
    assert ended["error"] == "States.ItemReaderFailed"
    resource = f"arn:aws:s3:::{source['Bucket']}/{source['Key']}"
    assert f"is not authorized to perform: s3:GetObject on resource: {resource}" in ended["cause"]


@pytest.mark.parametrize(("content", "key"), [("[1]", "other.json"), ('{"a": 1}', ""), ("[1", "")])
def test_items_that_cannot_be_read_fail_the_map(lab: Lab, role: str, content: str, key: str) -> None:
    source = plan(lab, content)
    machine = lab.machine(mapping(child(("Pass", {"Type": "Pass"})), ItemReader=reader(source)), role=role)
    ended = lab.run(machine, source | {"key": key or source["Key"]})
    assert ended["error"] == "States.ItemReaderFailed"


def test_fields_that_the_local_cloud_does_not_support_are_refused(lab: Lab, role: str) -> None:
    processor = child(("Pass", {"Type": "Pass"}))
    machine = lab.machine(mapping(processor, Items=[1], ItemBatcher={"MaxItemsPerBatch": 2}), role=role)
    assert "ItemBatcher" in lab.run(machine)["cause"]
