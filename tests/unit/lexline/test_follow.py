import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from lexline.follow import Snapshot, Watcher, follow
from lexline.runs import Run
from lexline.target import Stack, Target
from tests.unit.lexline.conftest import EXECUTION, MACHINE

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = Run(EXECUTION + "one", "RUNNING", WHEN, None)
JOB = "lexline-sotu-0123456789ab"
OTHER, THIRD = "lexline-wiki-ba9876543210", "lexline-wiki-000000000000"
STREAM = f"{JOB}/algo-1-1795444384"


def described(status: str, **rest: str) -> dict[str, Any]:
    return {
        "executionArn": RUN.arn,
        "stateMachineArn": MACHINE,
        "status": status,
        "startDate": WHEN,
        "input": json.dumps({"upload": {"key": "uploads/sotu/a.txt"}}),
        **rest,
    }


def visit(first_id: int, second: int, name: str, answer: Any = None) -> Iterator[dict[str, Any]]:
    """The events of a task state; without an answer it still waits."""
    when = WHEN + timedelta(seconds=second)
    yield {
        "id": first_id,
        "type": "TaskStateEntered",
        "timestamp": when,
        "stateEnteredEventDetails": {"name": name},
    }
    if answer is not None:
        output = json.dumps({"StatusCode": 200, "Payload": answer})
        task = {"resource": "invoke", "resourceType": "lambda", "output": output}
        yield {
            "id": first_id + 1,
            "type": "TaskSucceeded",
            "timestamp": when,
            "taskSucceededEventDetails": task,
        }
        yield {
            "id": first_id + 2,
            "type": "TaskStateExited",
            "timestamp": when,
            "stateExitedEventDetails": {"name": name},
        }


def log_page(*lines: str) -> dict[str, Any]:
    events = [{"timestamp": 1795444384000, "message": line} for line in lines]
    return {"events": events, "nextForwardToken": "f/1", "nextBackwardToken": "b/0"}


def test_a_run_that_trains_shows_its_jobs_log(target: Target, stack: Stack, stub: Stub) -> None:
    machine, logs = stub(target.stepfunctions), stub(target.logs)
    machine.add_response("describe_execution", described("RUNNING"))
    events = [*visit(1, 0, "Plan", {"name": JOB}), *visit(4, 5, "Train")]
    machine.add_response("get_execution_history", {"events": events})
    logs.add_response(
        "describe_log_streams",
        {"logStreams": [{"logStreamName": STREAM}]},
        # Not algo-10's and its like: hosts of a job all log the same training.
        {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamNamePrefix": f"{JOB}/algo-1-"},
    )
    logs.add_response(
        "get_log_events",
        log_page("epoch=1/4 seconds=3 valid_loss=5.42 valid_perplexity=226.6"),
        {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": STREAM, "startFromHead": True},
    )
    logs.add_response("get_log_events", log_page())
    snapshot = Watcher(target, stack, RUN).look()
    assert snapshot.work == "sotu"
    assert [step.name for step in snapshot.steps] == ["Plan", "Train"]
    assert snapshot.trains
    assert snapshot.training.fraction == 0.25
    assert snapshot.training_since is not None


def test_before_the_log_begins_the_jobs_own_status_is_asked_for(
    target: Target, stack: Stack, stub: Stub
) -> None:
    machine, logs, sagemaker = stub(target.stepfunctions), stub(target.logs), stub(target.sagemaker)
    machine.add_response("describe_execution", described("RUNNING"))
    events = [*visit(1, 0, "Plan", {"name": JOB}), *visit(4, 5, "Train")]
    machine.add_response("get_execution_history", {"events": events})
    logs.add_client_error("describe_log_streams", "ResourceNotFoundException", "no group", 400)
    sagemaker.add_client_error("describe_training_job", "ValidationException", "not yet", 400)
    assert Watcher(target, stack, RUN).look().job_phase == ""


@pytest.mark.parametrize(
    ("status", "verdict", "succeeded"),
    [
        ("SUCCEEDED", "Succeeded", True),
        ("SUCCEEDED", "Unchanged", True),
        ("SUCCEEDED", "Skipped", True),
        ("SUCCEEDED", "Rejected", False),
        ("FAILED", "Failed", False),
    ],
)
def test_a_finished_run_brings_its_report(
    target: Target, stack: Stack, stub: Stub, status: str, verdict: str, succeeded: bool
) -> None:
    machine = stub(target.stepfunctions)
    machine.add_response("describe_execution", described(status))
    report = {"status": verdict, "reason": "because"}
    machine.add_response("get_execution_history", {"events": list(visit(1, 0, "Report", report))})
    snapshot = Watcher(target, stack, RUN).look()
    assert snapshot.ended
    assert snapshot.report == report
    assert snapshot.succeeded == succeeded


def test_a_run_without_a_report_brings_the_machines_own_error(
    target: Target, stack: Stack, stub: Stub
) -> None:
    machine = stub(target.stepfunctions)
    machine.add_response("describe_execution", described("TIMED_OUT", error="States.Timeout", cause="a week"))
    machine.add_response("get_execution_history", {"events": []})
    snapshot = Watcher(target, stack, RUN).look()
    assert (snapshot.succeeded, snapshot.report, snapshot.error) == (False, None, "States.Timeout a week")


def test_following_ends_with_the_run(target: Target, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([Snapshot(RUN, "sotu", "RUNNING"), Snapshot(RUN, "sotu", "SUCCEEDED")])
    monkeypatch.setattr(Watcher, "look", lambda self: next(looks))
    shown: list[str] = []

    class Recorder:
        def show(self, snapshot: Snapshot) -> None:
            shown.append(snapshot.status)

    assert follow(target, stack, RUN, Recorder(), sleep=lambda seconds: None).status == "SUCCEEDED"
    assert shown == ["RUNNING", "SUCCEEDED"]


@pytest.mark.parametrize(
    ("holder", "waiting", "words"),
    [
        (OTHER, [JOB], "in line for the endpoint, which run ba9876543210 has"),
        (OTHER, [THIRD, JOB], "in line for the endpoint, which run ba9876543210 has, 1 more before it"),
        # It has asked, and is not in line yet.
        (OTHER, [], "in line for the endpoint, which run ba9876543210 has"),
        (JOB, [], ""),
        ("", [], ""),
    ],
)
def test_a_run_that_waits_for_the_lease_says_for_whom(
    target: Target, stack: Stack, stub: Stub, holder: str, waiting: list[str], words: str
) -> None:
    machine, table = stub(target.stepfunctions), stub(target.dynamodb)
    machine.add_response("describe_execution", described("RUNNING"))
    events = [*visit(1, 0, "Plan", {"name": JOB}), *visit(4, 5, "Acquire")]
    machine.add_response("get_execution_history", {"events": events})
    line = {run: {"M": {"since": {"N": str(since)}}} for since, run in enumerate(waiting)}
    item = {"waiting": {"M": line}, **({"owner": {"S": holder}} if holder else {})}
    table.add_response(
        "get_item",
        {"Item": item},
        {
            "TableName": "lexline-waits",
            "Key": {"resource": {"S": "endpoint/lexline"}},
            "ConsistentRead": True,
        },
    )
    assert Watcher(target, stack, RUN).look().in_line == words
