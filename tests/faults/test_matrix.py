"""The fault matrix: one fault per test, and the state after it. docs/reliability.md has the same table."""

import hashlib
from typing import Any, get_args

import pytest

from tests.faults.harness.client import BadResponse, When
from tests.faults.pipeline import ENDPOINT, Pipeline, corpus
from tests.waiting import DEADLINE

# An SDK tries a call four times, then the state machine retries the step.
ATTEMPTS = 4
CREATIONS = [
    "CreateTrainingJob",
    "CreateModelPackage",
    "CreateModel",
    "CreateEndpointConfig",
    "UpdateEndpoint",
]
# Operations that the tests call too, with the function whose calls the fault strikes.
CALLERS = {"InvokeEndpoint": "smoke_test", "DescribeEndpoint": "deploy", "DescribeTrainingJob": "train"}
REQUEST = {"dataset": "first", "force": True}


def assert_failed(description: dict[str, Any], error: str) -> str:
    """Check that the execution failed with this error, and return its cause."""
    assert (description["status"], description.get("error")) == ("FAILED", error)
    return str(description["cause"])


def assert_upload_succeeds(pipeline: Pipeline, runs: int = 1) -> None:
    """Check that an upload's run succeeds in spite of all planned faults, as the last of so many runs."""
    pipeline.run_upload("first", 1)
    assert pipeline.faults.unused() == []
    assert pipeline.statuses() == ["Succeeded"] * runs
    pipeline.assert_newest_serves(jobs=runs)


# --- calls to AWS


@pytest.mark.parametrize("kind", ["throttle", "internal_error"])
def test_refused_calls_are_retried(pipeline: Pipeline, kind: str) -> None:
    pipeline.serve_first_model()
    for operation in [*CREATIONS, *CALLERS]:
        getattr(pipeline.faults, kind)(operation, times=2 * ATTEMPTS, by=CALLERS.get(operation, ""))
    assert_upload_succeeds(pipeline, runs=2)


def test_an_exhausted_quota_is_retried(pipeline: Pipeline) -> None:
    pipeline.faults.limit("CreateTrainingJob", times=3)
    assert_upload_succeeds(pipeline)


@pytest.mark.parametrize(
    ("quota", "limit", "state"),
    [
        ("ml.m5.large for spot training job usage", 0, "Train"),
        ("ml.t2.medium for endpoint usage", 0, "Deploy"),
        # One instance serves, and an update starts the new one beside it.
        ("ml.t2.medium for endpoint usage", 1, "Deploy"),
    ],
)
def test_a_quota_that_is_too_small_fails_the_run_at_once(
    pipeline: Pipeline, quota: str, limit: int, state: str
) -> None:
    served = pipeline.serve_first_model() if limit else None
    pipeline.faults.set_quota(quota, limit)
    execution = pipeline.run_upload("second", 1)
    assert f"the quota '{quota}' must be at least {limit + 1}" in assert_failed(execution, "QuotaTooSmall")
    events = pipeline.history(execution["executionArn"])
    failed = [
        event["taskFailedEventDetails"]["error"] for event in events if "taskFailedEventDetails" in event
    ]
    assert failed == ["QuotaTooSmall"]
    assert state in pipeline.entered(execution["executionArn"])
    pipeline.assert_sound(serves=served)


def test_a_lost_response_creates_nothing_twice(pipeline: Pipeline) -> None:
    pipeline.serve_first_model()
    for operation in CREATIONS:
        pipeline.faults.lose_response(operation)
    assert_upload_succeeds(pipeline, runs=2)
    packages = pipeline.sagemaker.list_model_packages(ModelPackageGroupName=ENDPOINT)
    assert len(packages["ModelPackageSummaryList"]) == 2


def test_slow_calls_only_delay_a_run(pipeline: Pipeline) -> None:
    for operation in ("CreateTrainingJob", "CreateEndpoint", "UpdateItem"):
        pipeline.faults.slow(operation, seconds=1.0)
    assert_upload_succeeds(pipeline)


def test_a_denied_call_fails_the_run_with_the_action(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    pipeline.faults.deny("CreateEndpointConfig", times=None)
    assert "CreateEndpointConfig" in assert_failed(pipeline.run(REQUEST), "AccessDenied")
    pipeline.assert_sound(serves=served)


@pytest.mark.parametrize("operation", ["UpdateItem", "GetItem"])
def test_a_throttled_table_only_delays_a_run(pipeline: Pipeline, operation: str) -> None:
    # Not the calls of the test itself.
    pipeline.faults.throttle(operation, times=ATTEMPTS, by="gather")
    pipeline.faults.throttle(operation, times=2 * ATTEMPTS, by="acquire")
    assert_upload_succeeds(pipeline)


# --- training and the gate


@pytest.mark.parametrize(
    ("outcome", "error", "cause"),
    [
        ("Failed", "TrainingFailed", "out of memory"),
        ("Stopped", "TrainingStopped", "stopped before it finished"),
        ("MaxRuntimeExceeded", "TrainingTimedOut", "max_runtime_seconds"),
    ],
)
def test_a_job_that_does_not_complete_fails_the_run(
    pipeline: Pipeline, outcome: Any, error: str, cause: str
) -> None:
    served = pipeline.serve_first_model()
    pipeline.faults.job(outcome, reason="AlgorithmError: out of memory")
    assert cause in assert_failed(pipeline.run(REQUEST), error)
    pipeline.assert_sound(serves=served)


def test_a_job_resumes_after_a_spot_interruption(pipeline: Pipeline) -> None:
    pipeline.faults.job("Interrupted")
    assert_upload_succeeds(pipeline)


def test_a_worse_model_is_rejected_with_both_perplexities(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    pipeline.faults.metrics(test_perplexity=190.0, challenger_perplexity=190.0, champion_perplexity=60.0)
    report = pipeline.run_upload("first", 1)["output"]
    assert report["status"] == "Rejected"
    assert "190.00" in report["reason"]
    assert "60.00" in report["reason"]
    pipeline.assert_sound(serves=served)


def test_a_diverged_model_is_rejected(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    pipeline.faults.metrics(test_perplexity=float(10**9))
    pipeline.run_upload("first", 1)
    assert pipeline.statuses() == ["Succeeded", "Rejected"]
    pipeline.assert_sound(serves=served)


# --- deployment


def test_a_failed_first_endpoint_is_deleted(pipeline: Pipeline) -> None:
    pipeline.faults.create_fails("The model could not be loaded.")
    assert "could not be loaded" in assert_failed(pipeline.run_upload("first", 1), "EndpointFailed")
    pipeline.assert_sound(serves=None)


@pytest.mark.parametrize(
    ("watch_seconds", "late", "error"),
    [
        (3600, 0, "UpdateReverted"),
        # Only the smoke test notices the model if the watch is over before CloudWatch knows of the errors.
        (180, 24 * 3600, "SmokeTestFailed"),
    ],
)
def test_an_alarm_on_failed_requests_rolls_back_an_update_that_is_watched_long_enough(
    pipeline: Pipeline, watch_seconds: int, late: float, error: str
) -> None:
    served = pipeline.serve_first_model()
    pipeline.faults.delay_metrics(late)
    execution, job = pipeline.start_training({**REQUEST, "hosting": {"watch_seconds": watch_seconds}})
    pipeline.faults.respond("failing", name=job)
    with pipeline.requests():
        pipeline.faults.end_delays()
        assert_failed(pipeline.wait_for(execution), error)
    pipeline.assert_sound(serves=served)


@pytest.mark.parametrize("reason", ["Alarm lexline-endpoint-errors", ""])
def test_an_update_that_is_rolled_back_fails_the_run(pipeline: Pipeline, reason: str) -> None:
    served = pipeline.serve_first_model()
    pipeline.faults.update_reverts(reason)
    pipeline.faults.limit_token_waits(1.0)
    assert reason in assert_failed(pipeline.run(REQUEST), "UpdateReverted")
    pipeline.assert_sound(serves=served)


@pytest.mark.parametrize("how", [how for how in get_args(BadResponse) if how != "slow"])
def test_a_bad_model_is_rolled_back(pipeline: Pipeline, how: BadResponse) -> None:
    served = pipeline.serve_first_model()
    execution, job = pipeline.start_training(REQUEST)
    pipeline.faults.respond(how, name=job)
    pipeline.faults.end_delays()
    assert_failed(pipeline.wait_for(execution), "SmokeTestFailed")
    assert any(f"serves {served} again" in message for message in pipeline.messages())
    pipeline.assert_sound(serves=served)


@pytest.mark.parametrize("how", ["empty", "garbage"])
def test_a_bad_first_model_is_deleted(pipeline: Pipeline, how: Any) -> None:
    pipeline.faults.respond(how)
    assert_failed(pipeline.run_upload("first", 1), "SmokeTestFailed")
    pipeline.assert_sound(serves=None)


def test_a_slow_model_is_rolled_back(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    execution, job = pipeline.start_training({**REQUEST, "hosting": {"max_latency_seconds": 0.2}})
    pipeline.faults.respond("slow", seconds=0.4, name=job)
    pipeline.faults.end_delays()
    cause = assert_failed(pipeline.wait_for(execution), "SmokeTestFailed")
    assert "max_latency_seconds" in cause
    pipeline.assert_sound(serves=served)


# --- events


@pytest.mark.parametrize("how", ["lost", "doubled", "late", "early"])
@pytest.mark.parametrize("resource", ["training-job", "endpoint"])
def test_irregular_events_of_jobs_and_endpoints_change_nothing(
    pipeline: Pipeline, resource: Any, how: Any
) -> None:
    pipeline.faults.event(resource, how, seconds=0.3)
    pipeline.faults.limit_token_waits(1.0)
    assert_upload_succeeds(pipeline)


@pytest.mark.parametrize("how", ["doubled", "late"])
def test_a_doubled_or_late_upload_event_starts_no_second_job(pipeline: Pipeline, how: Any) -> None:
    pipeline.faults.event("upload", how, seconds=0.3)
    pipeline.upload("first", 1)
    pipeline.wait_for_jobs(1)
    pipeline.wait_for_rest()
    assert pipeline.faults.unused() == []
    pipeline.assert_newest_serves(jobs=1)


def test_the_sweep_starts_a_run_for_an_upload_with_a_lost_event(pipeline: Pipeline) -> None:
    pipeline.add_dataset("first")
    assert pipeline.unread_datasets() == ["first"]
    assert len(pipeline.sweep()["started"]) == 1
    assert pipeline.statuses() == ["Succeeded"]
    pipeline.assert_newest_serves(jobs=1)


@pytest.mark.parametrize("how", ["lost", "doubled", "late"])
def test_the_next_run_starts_after_an_irregular_end_event(pipeline: Pipeline, how: Any) -> None:
    pipeline.serve_first_model()
    pipeline.faults.limit_token_waits(1.0)
    first, _ = pipeline.start_training(REQUEST)
    pipeline.faults.event("execution", how, seconds=0.5, name=first.rsplit(":", 1)[1])
    pipeline.upload("second", 1)
    pipeline.wait_for_executions(3)
    pipeline.faults.end_delays()
    pipeline.wait_for_jobs(3)
    pipeline.wait_for_rest()
    assert pipeline.faults.unused() == []
    pipeline.assert_one_run_at_a_time()
    pipeline.assert_newest_serves(jobs=3)


# --- uploads


def test_uploads_within_the_quiet_period_share_one_run(pipeline: Pipeline) -> None:
    # On a machine of any speed, the first execution gathers until all uploads have joined.
    acquire = pipeline.faults.slow("UpdateItem", seconds=DEADLINE, by="acquire")
    for number in range(3):
        pipeline.upload("first", number, file=f"{number}.txt")
    pipeline.until(lambda: pipeline.item("dataset/first").get("joined") == 3, "three uploads to join")
    pipeline.until(lambda: pipeline.faults.fired(acquire), "the first run to acquire the lease")
    pipeline.faults.end_delays()
    pipeline.wait_for_rest()
    gatherer, *joined = sorted(pipeline.reports(), key=lambda report: report["status"], reverse=True)
    assert [gatherer["status"], *(report["status"] for report in joined)] == [
        "Succeeded",
        "Skipped",
        "Skipped",
    ]
    assert [report["joined"] for report in joined] == [gatherer["run"]] * 2
    assert [file["name"] for file in pipeline.manifest(gatherer)["files"]] == ["0.txt", "1.txt", "2.txt"]
    pipeline.assert_newest_serves(jobs=1)


def test_uploads_during_a_run_share_one_more_run(pipeline: Pipeline) -> None:
    pipeline.serve_first_model()
    pipeline.start_training(REQUEST)
    for version in (1, 2, 3):
        pipeline.upload("first", version)
    pipeline.wait_for_executions(5)
    pipeline.until(lambda: pipeline.item("dataset/first").get("joined") == 3, "three uploads to join")
    pipeline.faults.end_delays()
    pipeline.wait_for_rest()
    *_, report = [report for report in pipeline.reports() if report.get("job")]
    (source,) = pipeline.manifest(report)["source"]
    assert source["etag"] == hashlib.md5(corpus(3)).hexdigest()
    pipeline.assert_one_run_at_a_time()
    pipeline.assert_newest_serves(jobs=3)


def test_a_replaced_object_is_trained_on_once(pipeline: Pipeline) -> None:
    pipeline.faults.event("upload", "late", seconds=DEADLINE)
    pipeline.upload("first", 1)
    pipeline.upload("first", 2)
    pipeline.faults.end_delays()
    pipeline.wait_for_executions(2)
    pipeline.wait_for_rest()
    (report,) = [report for report in pipeline.reports() if report.get("job")]
    (source,) = pipeline.manifest(report)["source"]
    assert source["etag"] == hashlib.md5(corpus(2)).hexdigest()
    pipeline.assert_newest_serves(jobs=1)


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_object_that_changes_while_it_is_read_is_listed_again(pipeline: Pipeline, change: str) -> None:
    pipeline.add_dataset("first")
    pipeline.faults.event("upload", "lost")
    pipeline.upload("first", 1, file="other.txt")
    call = pipeline.faults.slow("GetObject", seconds=DEADLINE, by="read_upload")
    execution = pipeline.stack.start({"dataset": "first"})
    pipeline.until(lambda: pipeline.faults.fired(call), "an item to be read")
    if change == "replaced":
        pipeline.faults.event("upload", "lost")
        pipeline.upload("first", 2, file="other.txt")
    else:
        pipeline.delete_upload("first", "other.txt")
    pipeline.faults.end_delays()
    report = pipeline.wait_for(execution)["output"]
    assert pipeline.entered(execution).count("ListUploads") == 2
    etags = {source["uri"].split("/")[-1]: source["etag"] for source in pipeline.manifest(report)["source"]}
    others = {"other.txt": hashlib.md5(corpus(2)).hexdigest()} if change == "replaced" else {}
    assert etags == {"text.txt": hashlib.md5(corpus(0)).hexdigest(), **others}
    pipeline.assert_newest_serves(jobs=1)


@pytest.mark.parametrize("kills", [2, 3])
def test_an_item_is_tried_three_times(pipeline: Pipeline, kills: int) -> None:
    served = pipeline.serve_first_model()
    pipeline.faults.kill("read_upload", "GetObject", times=kills)
    execution = pipeline.run_upload("first", 1)
    assert pipeline.faults.unused() == []
    if kills == 2:
        pipeline.assert_newest_serves(jobs=2)
    else:
        assert "ReadUpload failed." in assert_failed(execution, "Runtime.ExitError")
        pipeline.assert_sound(serves=served)


def test_an_abort_while_items_are_read_leaves_nothing_of_them(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    call = pipeline.faults.slow("GetObject", seconds=DEADLINE, by="read_upload")
    aborted = pipeline.stack.start(REQUEST)
    pipeline.until(lambda: pipeline.faults.fired(call), "an item to be read")
    pipeline.abort(aborted)
    pipeline.wait_for_rest()
    # The cleanup has ended, and the function still reads.
    assert pipeline.half_made() == []
    pipeline.faults.end_delays()
    pipeline.until(lambda: not pipeline.faults.invocations_in_flight(), "the function to end")
    (run,) = pipeline.states.list_map_runs(executionArn=aborted)["mapRuns"]
    children = pipeline.states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert [child["status"] for child in children] == ["ABORTED"]
    pipeline.assert_sound(serves=served)


def test_the_same_data_again_starts_no_job(pipeline: Pipeline) -> None:
    pipeline.serve_first_model()
    pipeline.run_upload("first", 0)
    assert pipeline.statuses() == ["Succeeded", "Unchanged"]
    pipeline.assert_newest_serves(jobs=1)


# --- functions and executions

KILLS: list[tuple[str, str, When]] = [
    ("gather", "UpdateItem", "after"),
    ("acquire", "UpdateItem", "after"),
    ("list_uploads", "PutObject", "after"),
    ("read_upload", "PutObject", "after"),
    ("assemble_dataset", "PutObject", "before"),
    ("train", "CreateTrainingJob", "before"),
    ("train", "CreateTrainingJob", "after"),
    ("register", "CreateModelPackage", "after"),
    ("create_model", "CreateModel", "after"),
    ("deploy", "CreateEndpointConfig", "after"),
    ("deploy", "UpdateEndpoint", "before"),
    ("deploy", "UpdateEndpoint", "after"),
    ("smoke_test", "InvokeEndpoint", "before"),
    ("finish", "AddTags", "after"),
    ("report", "PutObject", "before"),
    ("callback", "SendTaskSuccess", "before"),
    ("execution_ended", "UpdateItem", "after"),
]


@pytest.mark.parametrize(("function", "operation", "when"), KILLS)
def test_a_killed_function_is_retried(pipeline: Pipeline, function: str, operation: str, when: When) -> None:
    pipeline.serve_first_model()
    pipeline.faults.limit_token_waits(2.0)
    pipeline.faults.kill(function, operation, when=when)
    assert_upload_succeeds(pipeline, runs=2)


def test_an_abort_during_training_stops_the_job(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    execution, _ = pipeline.start_training(REQUEST)
    pipeline.abort(execution)
    pipeline.until(lambda: pipeline.orphans() == [], "the job to be stopped")
    pipeline.wait_for_rest()
    assert [each["status"] for each in pipeline.executions()] == ["SUCCEEDED", "ABORTED", "SUCCEEDED"]
    pipeline.assert_sound(serves=served)


def test_a_timed_out_execution_is_cleaned_up(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    execution, _ = pipeline.start_training(REQUEST)
    pipeline.faults.time_out(execution)
    pipeline.until(lambda: pipeline.orphans() == [], "the job to be stopped")
    assert pipeline.wait_for(execution)["status"] == "TIMED_OUT"
    pipeline.assert_sound(serves=served)


@pytest.mark.parametrize(
    ("state", "function", "operation"),
    [
        ("ListUploads", "list_uploads", "ListBucket"),
        ("AssembleDataset", "assemble_dataset", "PutObject"),
        ("CreateModel", "create_model", "CreateModel"),
        ("Deploy", "deploy", "UpdateEndpoint"),
        ("SmokeTest", "smoke_test", "InvokeEndpoint"),
        ("Finish", "finish", "AddTags"),
        ("Report", "report", "Publish"),
    ],
)
def test_an_abort_in_any_step_leaves_a_working_model(
    pipeline: Pipeline, state: str, function: str, operation: str
) -> None:
    served = pipeline.serve_first_model()
    call = pipeline.faults.slow(operation, seconds=DEADLINE, by=function)
    aborted = pipeline.stack.start(REQUEST)
    pipeline.until(lambda: pipeline.faults.fired(call), f"the function of {state} to be called")
    assert pipeline.entered(aborted)[-1] == state
    pipeline.abort(aborted)
    # The function makes its call when the cleanup has had its first look.
    pipeline.wait_for_executions(3)
    cleanup = pipeline.executions()[-1]["executionArn"]
    pipeline.until(lambda: "StillAtWork" in pipeline.entered(cleanup), "the cleanup to wait for the function")
    pipeline.faults.end_delays()
    pipeline.wait_for_rest()
    assert pipeline.serving_model() in (served, pipeline.jobs()[-1])
    pipeline.assert_sound()


def test_an_aborted_gatherer_loses_no_upload(pipeline: Pipeline) -> None:
    pipeline.serve_first_model()
    pipeline.start_training(REQUEST)
    pipeline.upload("second", 1)
    gatherer = str(pipeline.until(lambda: pipeline.item("dataset/second").get("execution"), "a gatherer"))
    pipeline.upload("second", 2)
    pipeline.until(lambda: pipeline.item("dataset/second").get("joined") == 2, "the second upload to join")
    pipeline.abort(gatherer)
    pipeline.faults.end_delays()
    pipeline.wait_for_rest()
    assert pipeline.describe(gatherer)["status"] == "ABORTED"
    pipeline.assert_newest_serves(jobs=3)


def test_a_run_without_its_lease_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.serve_first_model()
    stale, _ = pipeline.start_training(REQUEST)
    pipeline.expire_lease()
    pipeline.upload("second", 1)
    newer = pipeline.wait_for_jobs(3)[-1]
    pipeline.until(lambda: pipeline.serving_model() == newer, "the newer model to serve")
    pipeline.faults.end_delays()
    assert_failed(pipeline.wait_for(stale), "LeaseLost")
    pipeline.assert_sound(serves=newer)


def test_an_ended_execution_loses_its_lease(pipeline: Pipeline) -> None:
    served = pipeline.serve_first_model()
    ended, _ = pipeline.start_training(REQUEST)
    pipeline.faults.event("execution", "lost", name=ended.rsplit(":", 1)[1])
    pipeline.abort(ended)
    assert pipeline.serving_model() == served
    pipeline.faults.limit_token_waits(1.0)
    pipeline.upload("second", 1)
    pipeline.wait_for_jobs(3)
    pipeline.wait_for_rest()
    pipeline.assert_newest_serves(jobs=3)
