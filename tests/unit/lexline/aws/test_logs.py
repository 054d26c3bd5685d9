from typing import Any

import pytest

from lexline.aws import logs
from lexline.aws.logs import LogReader
from lexline.aws.stack import Stack
from lexline.core.errors import UserError
from tests.unit.lexline.conftest import Stubs
from tests.unit.lexline.samples import JOB, RUN

GROUP = "/aws/sagemaker/TrainingJobs"
STREAM = "job/algo-1-1"


def page(token: str, *lines: tuple[int, str]) -> dict[str, Any]:
    events = [{"timestamp": when, "message": text} for when, text in lines]
    return {"events": events, "nextForwardToken": token, "nextBackwardToken": "b/0"}


def test_each_reading_begins_where_the_last_one_ended(stack: Stack, stubs: Stubs) -> None:
    reader = LogReader(stack.target.logs, GROUP, "job/")
    prefix = {"logGroupName": GROUP, "logStreamNamePrefix": "job/"}
    request = {"logGroupName": GROUP, "logStreamName": STREAM, "startFromHead": True}

    def read(*pages: tuple[dict[str, Any], dict[str, Any]]) -> list[str]:
        streams = {"logStreams": [{"logStreamName": STREAM}]}
        stubs.logs.add_response("describe_log_streams", streams, prefix)
        for response, token in pages:
            stubs.logs.add_response("get_log_events", response, {**request, **token})
        return [line.text for line in reader.read()]

    first, second = {"nextToken": "f/1"}, {"nextToken": "f/2"}
    assert read((page("f/1", (2000, "two\n"), (1000, "one")), {}), (page("f/1"), first)) == ["one", "two"]
    assert read((page("f/2", (3000, "three")), first), (page("f/2"), second)) == ["three"]


def test_a_log_group_may_not_exist_yet(stack: Stack, stubs: Stubs) -> None:
    stubs.logs.add_client_error("describe_log_streams", "ResourceNotFoundException", "no group", 400)
    assert LogReader(stack.target.logs, GROUP, "job/").read() == []


def run_is(stubs: Stubs, status: str, *jobs: str) -> None:
    stubs.returns("stepfunctions", "describe_execution", status=status)
    summaries = [{"TrainingJobName": name} for name in jobs]
    request = {"NameContains": RUN.id}
    stubs.returns("sagemaker", "list_training_jobs", request, TrainingJobSummaries=summaries)


def test_following_a_run_that_has_not_trained_yet_waits_for_its_job(stack: Stack, stubs: Stubs) -> None:
    run_is(stubs, "RUNNING")
    run_is(stubs, "RUNNING", JOB)
    assert len(logs.of_training(stack, RUN, wait=True, sleep=lambda seconds: None)) == 1


@pytest.mark.parametrize(
    ("status", "wait", "message"),
    [("FAILED", True, "ended without training"), ("RUNNING", False, "has not started to train")],
)
def test_a_run_without_a_training_job_says_why(
    stack: Stack, stubs: Stubs, status: str, wait: bool, message: str
) -> None:
    run_is(stubs, status)
    with pytest.raises(UserError, match=message):
        logs.of_training(stack, RUN, wait=wait)


def test_the_lines_of_each_function_of_the_stack_have_its_name(
    stack: Stack, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"PlanFunction": "Lambda::Function", "Bucket": "S3::Bucket", "TrainFunction": "Lambda::Function"}
    resources = [
        {"LogicalResourceId": name, "PhysicalResourceId": f"lexline-{name}", "ResourceType": f"AWS::{kind}"}
        for name, kind in kinds.items()
    ]
    stack_name = {"StackName": "lexline"}
    stubs.returns("cloudformation", "list_stack_resources", stack_name, StackResourceSummaries=resources)
    for name, when in (("Plan", 2000), ("Train", 1000)):
        group = {"logGroupName": f"/aws/lambda/lexline-{name}Function"}
        streams = {"logStreams": [{"logStreamName": "s"}]}
        stubs.logs.add_response("describe_log_streams", streams, group)
        stubs.logs.add_response("get_log_events", page("f/1", (when, name.lower())))
        stubs.logs.add_response("get_log_events", page("f/1"))
    lines = logs.merged(logs.of_functions(stack))
    assert [(line.label, line.text) for line in lines] == [("Train", "train"), ("Plan", "plan")]
