"""Training jobs as DescribeTrainingJob and EventBridge show them."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from tests.unit.localcloud.conftest import ARN, ROLE, Cloud, eventually, refusal, training_request

EVENT = "SageMaker Training Job State Change"
STEPS = ("Downloading", "Training", "Uploading")


def describe(cloud: Cloud, name: str = "job") -> dict[str, Any]:
    return dict(cloud.sagemaker.describe_training_job(TrainingJobName=name))


def status(cloud: Cloud) -> tuple[str, str]:
    job = describe(cloud)
    return job["TrainingJobStatus"], job["SecondaryStatus"]


def steps(job: dict[str, Any]) -> list[str]:
    return [step["Status"] for step in job["SecondaryStatusTransitions"]]


def test_a_new_job_is_starting_and_described_as_it_was_requested(cloud: Cloud) -> None:
    checkpoints = {"S3Uri": "s3://bucket/checkpoints/", "LocalPath": "/opt/ml/checkpoints"}
    request = training_request("Run-1", Environment={"A": "b"}, CheckpointConfig=checkpoints)
    assert cloud.sagemaker.create_training_job(**request)["TrainingJobArn"] == f"{ARN}:training-job/run-1"
    job = describe(cloud, "Run-1")
    for name in request.keys() - {"OutputDataConfig"}:
        assert job[name] == request[name]
    assert job["OutputDataConfig"]["S3OutputPath"] == "s3://bucket/runs"
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("InProgress", "Starting")
    assert job["EnableManagedSpotTraining"] is False
    assert isinstance(job["CreationTime"], datetime)
    assert not {"ModelArtifacts", "TrainingEndTime"} & set(job)


def test_the_run_gets_the_request_a_directory_and_the_roles_credentials(cloud: Cloud) -> None:
    launch = cloud.train("Run-1").launch
    assert (launch.job_name, launch.job_arn) == ("Run-1", f"{ARN}:training-job/run-1")
    assert launch.request["HyperParameters"] == {"epochs": "2"}
    assert launch.directory.is_relative_to(cloud.directory)
    assert launch.environment["AWS_ACCESS_KEY_ID"] == f"ASIA-{ROLE}"


def test_an_image_that_the_role_may_not_pull_is_refused(cloud: Cloud) -> None:
    cloud.host.forbidden.add(("ecr:GetAuthorizationToken", "*"))
    message = refusal(cloud.sagemaker.create_training_job, **training_request("run-1"))
    assert message.startswith("Access denied for the repository of the image ")


def test_a_job_without_a_stopping_condition_has_a_day(cloud: Cloud) -> None:
    request = training_request()
    del request["StoppingCondition"]
    cloud.sagemaker.create_training_job(**request)
    assert cloud.runs[0].launch.request["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}


def test_a_completed_job_has_its_artifact_its_times_and_every_step(cloud: Cloud) -> None:
    run = cloud.train()
    run.reach(*STEPS)
    run.finish()
    run.events.secondary_status("Uploading", "late")  # a report after the end changes nothing
    cloud.sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="job")
    assert status(cloud) == ("Completed", "Completed")
    job = describe(cloud)
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/runs/job/output/model.tar.gz"}
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (42, 42)
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"]
    assert steps(job) == ["Starting", *STEPS, "Completed"]
    transitions = job["SecondaryStatusTransitions"]
    for step, following in pairwise(transitions):
        assert step["StartTime"] <= step["EndTime"] == following["StartTime"]
    assert transitions[-1]["StatusMessage"] == "Training job completed"
    assert transitions[-1]["EndTime"] == job["TrainingEndTime"]
    assert "FailureReason" not in job


def test_a_failed_job_says_why(cloud: Cloud) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training")
    run.finish("Failed", reason="AlgorithmError: exit code 1")
    assert status(cloud) == ("Failed", "Failed")
    assert describe(cloud)["FailureReason"] == "AlgorithmError: exit code 1"
    assert "ModelArtifacts" not in describe(cloud)
    with pytest.raises(WaiterError):
        cloud.sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="job")
    eventually(lambda: len(cloud.host.events) == 4)
    assert cloud.events(EVENT, "FailureReason") == [None] * 3 + ["AlgorithmError: exit code 1"]


def test_a_stopped_job_goes_through_stopping(cloud: Cloud) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training")
    cloud.sagemaker.stop_training_job(TrainingJobName="job")
    assert status(cloud) == ("Stopping", "Stopping")
    assert run.stopped
    run.reach("Stopping", "Uploading")
    assert status(cloud) == ("Stopping", "Uploading")
    run.finish("Stopped")
    assert status(cloud) == ("Stopped", "Stopped")
    expected = ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]
    assert steps(describe(cloud)) == expected


@pytest.mark.parametrize("secondary", ["MaxRuntimeExceeded", "MaxWaitTimeExceeded"])
def test_a_job_out_of_time_is_stopped_with_a_status_of_its_own(cloud: Cloud, secondary: str) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training", "Stopping")
    run.finish("Stopped", secondary)
    assert status(cloud) == ("Stopped", secondary)
    assert "FailureReason" not in describe(cloud)


@pytest.mark.parametrize("final", ["Completed", "Failed", "Stopped", "Stopping"])
def test_only_a_job_in_progress_can_be_stopped(cloud: Cloud, final: str) -> None:
    run = cloud.train()
    if final == "Stopping":
        run.reach("Stopping")
    else:
        run.finish(final, reason="x")
    message = refusal(cloud.sagemaker.stop_training_job, TrainingJobName="job")
    assert message == f"The request was rejected because the training job is in status {final}."


def test_metrics_are_read_from_the_log_while_the_job_runs(cloud: Cloud) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training")
    run.say("epoch=1/2 valid_loss=6.1 valid_perplexity=445.9", 1_700_000_001_000)
    run.say("nothing to see")
    run.say("epoch=2/2 valid_loss=5.4 valid_perplexity=2.2e2", 1_700_000_002_500)
    run.say("test_loss=nan test_perplexity=nan")
    (metric,) = describe(cloud)["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("valid:perplexity", 220.0)
    assert metric["Timestamp"] == datetime.fromtimestamp(1_700_000_002.5, UTC)


def test_every_change_is_an_event_in_the_order_it_happened(cloud: Cloud) -> None:
    run = cloud.train("Run-1", Tags=[{"Key": "lexline:run", "Value": "1"}])
    run.reach(*STEPS)
    run.finish()
    eventually(lambda: len(cloud.host.events) == 5)
    assert cloud.events(EVENT, "SecondaryStatus") == ["Starting", *STEPS, "Completed"]
    assert cloud.events(EVENT, "TrainingJobStatus") == ["InProgress"] * 4 + ["Completed"]
    kind, detail, resources = cloud.host.events[-1]
    arn = f"{ARN}:training-job/run-1"
    assert (kind, resources) == (EVENT, [arn])
    assert (detail["TrainingJobName"], detail["TrainingJobArn"]) == ("Run-1", arn)
    assert detail["HyperParameters"] == {"epochs": "2"}
    assert detail["ModelArtifacts"]["S3ModelArtifacts"].endswith("/model.tar.gz")
    assert detail["Tags"] == {"lexline:run": "1"}
    assert detail["SecondaryStatusTransitions"][0]["Status"] == "Starting"
    assert isinstance(detail["SecondaryStatusTransitions"][0]["StartTime"], int)
    assert detail["CreationTime"] > 1_700_000_000_000
    assert "FailureReason" not in detail


def test_a_rule_that_cannot_be_reached_does_not_silence_later_events(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit, calls = cloud.host.emit, []

    def unsteady(*event: Any) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise OSError("no bus")
        emit(*event)

    monkeypatch.setattr(cloud.host, "emit", unsteady)
    cloud.train().reach("Downloading")
    eventually(lambda: cloud.events(EVENT, "SecondaryStatus") == ["Downloading"])


def test_a_name_is_taken_for_good_in_any_case(cloud: Cloud) -> None:
    cloud.train("Run-1").finish()
    assert refusal(cloud.sagemaker.create_training_job, "ResourceInUse", **training_request("run-1")) == (
        "Training job names must be unique within an AWS account and region, and a training job with this "
        f"name already exists ({ARN}:training-job/run-1)"
    )


def test_an_unknown_job_is_not_found(cloud: Cloud) -> None:
    for call in (cloud.sagemaker.describe_training_job, cloud.sagemaker.stop_training_job):
        assert refusal(call, TrainingJobName="nobody") == "Requested resource not found."


def test_instances_beyond_the_quota_are_refused_until_some_are_free(cloud: Cloud) -> None:
    many = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 20, "VolumeSizeInGB": 30}
    run = cloud.train("many", ResourceConfig=many)
    message = refusal(cloud.sagemaker.create_training_job, "ResourceLimitExceeded", **training_request())
    assert message.startswith(
        "The account-level service limit 'ml.m5.xlarge for training job usage' is 20 Instances, with current "
        "utilization of 20 Instances and a request delta of 1 Instances."
    )
    # Spot instances have a quota of their own.
    cloud.train("spot", **SPOT, **stopping(60, 60))
    run.finish()
    cloud.train("one")


def test_a_quota_is_set_by_its_name_in_service_quotas(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("SAGEMAKER_QUOTAS", '{"ml.m5.xlarge for spot training job usage": 0}')
    cloud: Cloud = request.getfixturevalue("cloud")
    spot = training_request(**SPOT, **stopping(60, 60))
    assert refusal(cloud.sagemaker.create_training_job, "ResourceLimitExceeded", **spot) == (
        "The account-level service limit 'ml.m5.xlarge for spot training job usage' is 0 Instances, with "
        "current utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service "
        "Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS "
        "support to request an increase for this quota."
    )
    cloud.train("on-demand")


def algorithm(**changes: Any) -> dict[str, Any]:
    return {"AlgorithmSpecification": {"TrainingInputMode": "File"} | changes}


def stopping(runtime: int, wait: int) -> dict[str, Any]:
    return {"StoppingCondition": {"MaxRuntimeInSeconds": runtime, "MaxWaitTimeInSeconds": wait}}


NOBODY = "arn:aws:iam::000000000000:role/nobody"
SPOT = {"EnableManagedSpotTraining": True}
WAIT = "Invalid MaxWaitTimeInSeconds. It "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (SPOT, f"{WAIT}must be present and be greater than or equal to MaxRuntimeInSeconds"),
        (SPOT | stopping(60, 59), f"{WAIT}must be present and be greater than or equal to MaxRuntime"),
        (stopping(60, 90), f"{WAIT}is only supported when EnableManagedSpotTraining is set to true"),
        (algorithm(), "either TrainingImage or AlgorithmName"),
        (algorithm(AlgorithmName="mine"), "not available in the local cloud"),
        (
            algorithm(TrainingImage="image", MetricDefinitions=[{"Name": "a", "Regex": "("}]),
            "Invalid metric definition regex '('",
        ),
        ({"ResourceConfig": {"VolumeSizeInGB": 30}}, "needs InstanceType and InstanceCount"),
        ({"InputDataConfig": training_request()["InputDataConfig"] * 2}, "Duplicate channel names"),
        (
            {"RoleArn": NOBODY},
            f"Could not assume role {NOBODY}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role.",
        ),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused(
    cloud: Cloud, change: dict[str, Any], message: str
) -> None:
    assert message in refusal(cloud.sagemaker.create_training_job, **training_request(**change))


def test_an_interrupted_spot_job_continues_in_progress(cloud: Cloud) -> None:
    run = cloud.train("job", **SPOT, **stopping(60, 60))
    run.reach("Downloading", "Training", "Interrupted")
    assert describe(cloud)["EnableManagedSpotTraining"] is True
    assert status(cloud) == ("InProgress", "Interrupted")
    started = describe(cloud)["TrainingStartTime"]
    run.reach("Starting", *STEPS)
    run.finish()
    job = describe(cloud)
    first = ["Starting", "Downloading", "Training", "Interrupted"]
    assert steps(job) == [*first, "Starting", *STEPS, "Completed"]
    assert all("EndTime" in step for step in job["SecondaryStatusTransitions"])
    assert job["TrainingStartTime"] == started
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] == 42
    eventually(lambda: cloud.events(EVENT, "SecondaryStatus") == steps(job))


def test_closing_ends_the_jobs_that_still_run(cloud: Cloud) -> None:
    running, done = cloud.train("running"), cloud.train("done")
    done.finish()
    cloud.service.close()
    assert (running.closed, done.closed) == (True, False)
