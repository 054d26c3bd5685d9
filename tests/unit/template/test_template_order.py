"""In which order things come and go, and how long each step has for what it does."""

import json
import re
from typing import Any

import pytest

from coordination import lease
from events import stack_deletion
from git_source import repository
from steps import prepare, smoke_test
from tests.unit.template.conftest import PROJECT, Template

MODEL_SECONDS = 60
"""How long SageMaker waits for a container's answer (InvokeEndpoint's reference)."""
FUNCTION_LIMIT = 900
"""The longest a Lambda function can run, in seconds."""


def needs(resource: dict[str, Any]) -> set[str]:
    """What has to be there before a resource: what it refers to, and what it says it depends on."""
    depends = resource.get("DependsOn", [])
    return {
        *([depends] if isinstance(depends, str) else depends),
        *re.findall(r"<(\w+)[.>]", json.dumps(resource)),
    }


def comes_before(template: Template, first: str, second: str) -> bool:
    """Whether `second` needs `first`, so that it is made after it and deleted before."""
    waiting, seen = {second}, set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= (needs(template.resources[name]) & template.resources.keys()) - seen
    return first in seen - {second}


def test_nothing_needs_itself(template: Template) -> None:
    assert [name for name in template.resources if name in needs(template.resources[name])] == []
    for name in template.resources:
        for other in needs(template.resources[name]) & template.resources.keys():
            assert not comes_before(template, name, other), f"{name} and {other} need each other"


# --- the stack's end ---


def test_what_starts_something_is_gone_before_the_leftovers_are_removed(template: Template) -> None:
    """Or it would start something while they are."""
    starting = {
        name
        for name, rule in template.of("AWS::Events::Rule").items()
        if {target["Arn"] for target in rule["Targets"]}
        & {"<StateMachine>", "<ExecutionEndedFunction.Arn>", "<SweepFunction.Arn>"}
    } | set(template.of("AWS::Scheduler::ScheduleGroup"))
    assert starting == {"UploadRule", "ExecutionRule", "SweepSchedule", "ScheduleGroup"}
    for name in starting:
        assert comes_before(template, "Leftovers", name), name


@pytest.mark.parametrize(
    "needed",
    [
        *("StackDeletionFunction", "StackDeletionRole", "StackDeletionLogs", "Bucket", "BucketPolicy"),
        *("StateMachine", "PlanFunction", "ExecutionRole", "Table"),
    ],
)
def test_the_leftovers_are_removed_while_all_of_the_pipeline_is_still_there(
    template: Template, needed: str
) -> None:
    assert comes_before(template, needed, "Leftovers")


def test_an_endpoints_schedules_are_made_in_the_group_that_there_is(template: Template) -> None:
    """The functions name it instead of referring to it, for it comes after them."""
    name = template.one("AWS::Scheduler::ScheduleGroup")["Name"]
    named = {
        function["Environment"]["Variables"]["SCHEDULE_GROUP"]
        for function in template.of("AWS::Lambda::Function").values()
        if "SCHEDULE_GROUP" in function["Environment"]["Variables"]
    }
    assert named == {name}
    assert f":schedule/{name}/" in json.dumps(template.of("AWS::IAM::Role"))


# --- time ---


def seconds(template: Template, function: str) -> int:
    return int(template.of("AWS::Lambda::Function")[function]["Timeout"])


def test_no_function_outlives_the_lease_that_it_renewed(template: Template) -> None:
    for function in template.of("AWS::Lambda::Function").values():
        assert function["Timeout"] <= FUNCTION_LIMIT < lease.SECONDS


def test_the_leftovers_are_removed_in_the_time_there_is(template: Template) -> None:
    # It goes by the time that Lambda says is left, which leaves this much for its answer.
    assert stack_deletion._SPARE_SECONDS < seconds(template, "StackDeletionFunction") == FUNCTION_LIMIT
    # CloudFormation waits for an answer until the function cannot give any more.
    assert template.one("Custom::Leftovers")["ServiceTimeout"] > FUNCTION_LIMIT


def test_the_smoke_test_has_time_for_the_slowest_answers(template: Template) -> None:
    answers = 1 + 2 * len(smoke_test._SEEDS)
    assert answers * MODEL_SECONDS < seconds(template, "SmokeTestFunction")


def test_a_restored_endpoint_has_time_to_answer(template: Template) -> None:
    assert seconds(template, "CompensateFunction") > 2 * MODEL_SECONDS


def test_steps_with_a_limit_of_their_own_come_to_it_first(template: Template) -> None:
    assert seconds(template, "PrepareFunction") > prepare.SECONDS
    assert seconds(template, "SourceFunction") > repository.TIMEOUT


def test_a_clean_up_waits_for_functions_of_the_aborted_run_that_are_still_at_work(template: Template) -> None:
    machine = json.loads((PROJECT / "statemachine" / "pipeline.asl.json").read_text(encoding="utf-8"))
    waits = machine["States"]["StillAtWork"]["Seconds"]
    assert seconds(template, "TrainFunction") == seconds(template, "DeployFunction") == waits


def test_the_api_gives_up_no_later_than_its_gateway(template: Template) -> None:
    assert seconds(template, "ApiFunction") == 29
