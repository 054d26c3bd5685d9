"""The order of creation and deletion, and the time that each function has."""

import json

import pytest

from coordination import lease
from events import stack_deletion
from git_source import repository
from steps import read_upload, smoke_test
from tests.unit.template.conftest import FUNCTIONS, PROJECT, Template, variables_of

MODEL_SECONDS = 60
"""SageMaker ends a request after this time (InvokeEndpoint's reference)."""
FUNCTION_LIMIT = 900
"""The longest a Lambda function can run, in seconds."""


def test_nothing_needs_itself(template: Template) -> None:
    for name in template.resources:
        for other in template.needs(name):
            assert name != other
            assert not template.comes_before(name, other), f"{name} and {other} need each other"


# --- the stack's end ---


def test_nothing_starts_a_run_while_the_leftovers_are_deleted(template: Template) -> None:
    starting = {
        name
        for name, rule in template.of("AWS::Events::Rule").items()
        if {target["Arn"] for target in rule["Targets"]}
        & {"<StateMachine>", "<ExecutionEndedFunction.Arn>", "<SweepFunction.Arn>"}
    } | set(template.of("AWS::Scheduler::ScheduleGroup"))
    assert starting == {"UploadRule", "ExecutionRule", "SweepSchedule", "ScheduleGroup"}
    for name in starting:
        assert template.comes_before("Leftovers", name), name


@pytest.mark.parametrize(
    "needed",
    [
        *("StackDeletionFunction", "StackDeletionRole", "StackDeletionLogs", "Bucket", "BucketPolicy"),
        *("StateMachine", "PlanFunction", "ExecutionRole", "Table"),
    ],
)
def test_the_leftovers_are_deleted_while_the_pipeline_still_exists(template: Template, needed: str) -> None:
    assert template.comes_before(needed, "Leftovers")


def test_functions_create_schedules_in_this_deployments_group(template: Template) -> None:
    """They use its name instead of a reference, because the group is created after them."""
    name = template.one("AWS::Scheduler::ScheduleGroup")["Name"]
    variables = [variables_of(template, function) for function in FUNCTIONS]
    assert {each["SCHEDULE_GROUP"] for each in variables if "SCHEDULE_GROUP" in each} == {name}
    assert f":schedule/{name}/" in json.dumps(template.of("AWS::IAM::Role"))


# --- time ---


def seconds(template: Template, function: str) -> int:
    return int(template.of("AWS::Lambda::Function")[function]["Timeout"])


def test_no_function_runs_longer_than_the_lease_it_renewed(template: Template) -> None:
    for function in template.of("AWS::Lambda::Function").values():
        assert function["Timeout"] <= FUNCTION_LIMIT < lease.SECONDS


def test_stack_deletion_replies_before_cloudformation_gives_up(template: Template) -> None:
    # The function stops deleting when this much of its time is left for the reply.
    assert stack_deletion._SPARE_SECONDS < seconds(template, "StackDeletionFunction") == FUNCTION_LIMIT
    # CloudFormation waits for the reply longer than the function can run.
    assert template.one("Custom::Leftovers")["ServiceTimeout"] > FUNCTION_LIMIT


def test_the_smoke_test_has_time_for_the_slowest_responses(template: Template) -> None:
    requests = 1 + 2 * len(smoke_test._SEEDS)
    assert requests * MODEL_SECONDS < seconds(template, "SmokeTestFunction")


def test_a_restored_endpoint_has_time_to_respond(template: Template) -> None:
    assert seconds(template, "CompensateFunction") > 2 * MODEL_SECONDS


def test_a_functions_own_time_limit_comes_before_lambdas(template: Template) -> None:
    assert seconds(template, "ReadUploadFunction") > read_upload.SECONDS
    assert seconds(template, "SourceFunction") > repository.TIMEOUT


def test_a_cleanup_waits_for_functions_of_the_aborted_run(template: Template) -> None:
    machine = json.loads((PROJECT / "statemachine" / "pipeline.asl.json").read_text(encoding="utf-8"))
    waits = machine["States"]["StillAtWork"]["Seconds"]
    assert {seconds(template, f"{step}Function") for step in ("Train", "CreateModel", "Deploy")} == {waits}


def test_the_api_function_ends_with_its_gateways_limit(template: Template) -> None:
    assert seconds(template, "ApiFunction") == 29
