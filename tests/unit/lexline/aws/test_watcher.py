import json
from typing import Any

import pytest

from lexline.aws.stack import Stack
from lexline.aws.watcher import Queue, Snapshot, Watcher
from tests.unit.lexline.conftest import Stubs
from tests.unit.lexline.samples import JOB, ONE, RUN, THREE, TWO, WHEN, visited

STREAM = f"{JOB}/algo-1-1795444384"
REQUEST = {"upload": {"key": "uploads/sotu/a.txt"}}


def look(stack: Stack, stubs: Stubs, status: str, *visits: tuple[str, Any], **description: str) -> Snapshot:
    """Return a snapshot of an execution that visited these states, each with its output or None."""
    described = {"status": status, "input": json.dumps(REQUEST), **description}
    stubs.returns("stepfunctions", "describe_execution", **described)
    stubs.stepfunctions.add_response("get_execution_history", visited(*visits))
    return Watcher(stack, RUN).look()


PLANNED = ("Plan", {"name": JOB})


def test_a_run_that_trains_has_the_progress_from_its_jobs_log(stack: Stack, stubs: Stubs) -> None:
    group = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
    stubs.logs.add_response(
        "describe_log_streams",
        {"logStreams": [{"logStreamName": STREAM}]},
        # All hosts of a job log the same progress. The hyphen excludes algo-10 and so on.
        {**group, "logStreamNamePrefix": f"{JOB}/algo-1-"},
    )
    line = "epoch=1/4 seconds=3 valid_loss=5.42 valid_perplexity=226.6"
    page = {"nextForwardToken": "f/1", "nextBackwardToken": "b/0"}
    first = {**group, "logStreamName": STREAM, "startFromHead": True}
    events = [{"timestamp": 1795444384000, "message": line}]
    stubs.logs.add_response("get_log_events", {**page, "events": events}, first)
    stubs.logs.add_response("get_log_events", {**page, "events": []}, {**first, "nextToken": "f/1"})
    snapshot = look(stack, stubs, "RUNNING", PLANNED, ("Train", None))
    assert snapshot.request == REQUEST
    assert [step.name for step in snapshot.steps] == ["Plan", "Train"]
    assert snapshot.in_progress("Train")
    assert snapshot.training.fraction == 0.25
    assert snapshot.training_since is not None
    assert snapshot.training.valid_curve == ((1, 226.6),)


def test_before_the_log_begins_the_job_may_not_exist_yet(stack: Stack, stubs: Stubs) -> None:
    stubs.logs.add_client_error("describe_log_streams", "ResourceNotFoundException", "no group", 400)
    stubs.sagemaker.add_client_error("describe_training_job", "ValidationException", "not yet", 400)
    assert look(stack, stubs, "RUNNING", PLANNED, ("Train", None)).job_status == ""


@pytest.mark.parametrize(
    ("status", "result", "succeeded"),
    [
        ("SUCCEEDED", "Succeeded", True),
        ("SUCCEEDED", "Unchanged", True),
        ("SUCCEEDED", "Skipped", True),
        ("SUCCEEDED", "Rejected", False),
        ("FAILED", "Failed", False),
    ],
)
def test_a_run_that_has_ended_has_its_report(
    stack: Stack, stubs: Stubs, status: str, result: str, succeeded: bool
) -> None:
    report = {"status": result, "reason": "because"}
    snapshot = look(stack, stubs, status, ("Report", report))
    assert snapshot.ended
    assert snapshot.report == report
    assert snapshot.succeeded == succeeded


def test_a_run_without_a_report_has_the_executions_error(stack: Stack, stubs: Stubs) -> None:
    snapshot = look(stack, stubs, "TIMED_OUT", error="States.Timeout", cause="a week")
    assert (snapshot.succeeded, snapshot.report, snapshot.error) == (False, None, "States.Timeout a week")


@pytest.mark.parametrize(("succeeded", "failed", "read"), [(0, 0, 0.0), (2, 1, 0.75), (4, 0, 1.0)])
def test_a_run_that_reads_its_uploads_has_the_share_that_is_read(
    stack: Stack, stubs: Stubs, succeeded: int, failed: int, read: float
) -> None:
    entered = {"stateEnteredEventDetails": {"name": "ReadUploads"}}
    started = {"mapRunStartedEventDetails": {"mapRunArn": "arn:aws:states:map"}}
    events = [
        {"id": 1, "timestamp": WHEN, "type": "MapStateEntered", **entered},
        {"id": 2, "timestamp": WHEN, "type": "MapRunStarted", **started},
    ]
    ended = succeeded + failed
    counts = {"total": 4, "succeeded": succeeded, "failed": failed, "running": min(1, 4 - ended)}
    stubs.returns("stepfunctions", "describe_execution", status="RUNNING", input=json.dumps(REQUEST))
    stubs.stepfunctions.add_response("get_execution_history", {"events": events})
    stubs.returns(
        "stepfunctions",
        "describe_map_run",
        {"mapRunArn": "arn:aws:states:map"},
        itemCounts={"pending": 4 - ended - counts["running"], **counts},
    )
    assert Watcher(stack, RUN).look().read == read


@pytest.mark.parametrize(
    ("item", "queue"),
    [
        ({"owner": ONE, "waiting": {JOB: "9.5"}}, Queue(ONE, 0)),
        ({"owner": ONE, "waiting": {JOB: "10.25", TWO: "9.75", THREE: "10.5"}}, Queue(ONE, 1)),
        # The run has asked for the lease and is not in line yet.
        ({"owner": ONE, "waiting": {}}, Queue(ONE, 0)),
        ({"owner": JOB, "waiting": {}}, None),
        ({"waiting": {}}, None),
        ({}, None),
    ],
)
def test_a_run_that_waits_for_the_lease_has_its_place_in_line(
    stack: Stack, stubs: Stubs, item: dict[str, Any], queue: Queue | None
) -> None:
    values: dict[str, Any] = {"owner": {"S": item["owner"]}} if "owner" in item else {}
    if "waiting" in item:
        line = {run: {"M": {"since": {"N": since}}} for run, since in item["waiting"].items()}
        values["waiting"] = {"M": line}
    key = {"resource": {"S": "endpoint/lexline"}}
    request = {"TableName": "lexline-waits", "Key": key, "ConsistentRead": True}
    stubs.returns("dynamodb", "get_item", request, **({"Item": values} if item else {}))
    assert look(stack, stubs, "RUNNING", PLANNED, ("Acquire", None)).queue == queue
