"""Training jobs as DescribeTrainingJob and EventBridge tell of them."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

ARN = "arn:aws:sagemaker:us-east-1:000000000000:training-job"
EVENT = "SageMaker Training Job State Change"
STEPS = ("Downloading", "Training", "Uploading")


def refusal(call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error: dict[str, Any] = caught.value.response["Error"]
    return error


def test_a_new_job_is_starting_and_described_as_it_was_asked_for(cloud: Any, requests: Any) -> None:
    checkpoints = {"S3Uri": "s3://bucket/checkpoints/", "LocalPath": "/opt/ml/checkpoints"}
    asked = requests.training("Run-1", Environment={"A": "b"}, CheckpointConfig=checkpoints)
    assert cloud.sagemaker.create_training_job(**asked)["TrainingJobArn"] == f"{ARN}/run-1"
    job = cloud.sagemaker.describe_training_job(TrainingJobName="Run-1")
    for name in asked.keys() - {"OutputDataConfig"}:
        assert job[name] == asked[name]
    assert job["OutputDataConfig"]["S3OutputPath"] == "s3://bucket/runs"
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("InProgress", "Starting")
    assert job["EnableManagedSpotTraining"] is False
    assert isinstance(job["CreationTime"], datetime)
    assert "ModelArtifacts" not in job
    assert "TrainingEndTime" not in job


def test_the_run_gets_the_request_a_directory_and_the_roles_credentials(cloud: Any) -> None:
    launch = cloud.train("Run-1").launch
    assert (launch.job_name, launch.job_arn) == ("Run-1", f"{ARN}/run-1")
    assert launch.request["HyperParameters"] == {"epochs": "2"}
    assert launch.directory.is_relative_to(cloud.directory)
    assert launch.environment["AWS_ACCESS_KEY_ID"] == "ASIA-arn:aws:iam::000000000000:role/execution"


def test_a_job_without_a_stopping_condition_has_a_day(cloud: Any, requests: Any) -> None:
    request = requests.training("job")
    del request["StoppingCondition"]
    cloud.sagemaker.create_training_job(**request)
    assert cloud.runs[0].launch.request["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}


def test_a_completed_job_has_its_artifact_its_times_and_every_step(cloud: Any) -> None:
    run = cloud.train()
    run.reach(*STEPS)
    run.finish()
    cloud.sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="job")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/runs/job/output/model.tar.gz"}
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (42, 42)
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"]
    transitions = job["SecondaryStatusTransitions"]
    assert [step["Status"] for step in transitions] == ["Starting", *STEPS, "Completed"]
    for step, following in pairwise(transitions):
        assert step["StartTime"] <= step["EndTime"] == following["StartTime"]
    assert transitions[-1]["StatusMessage"] == "Training job completed"
    assert transitions[-1]["EndTime"] == job["TrainingEndTime"]
    assert "FailureReason" not in job


def test_a_failed_job_says_why(cloud: Any) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training")
    run.finish("Failed", reason="AlgorithmError: ExecuteUserScriptError: exit code 1")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: ExecuteUserScriptError: exit code 1"
    assert "ModelArtifacts" not in job
    with pytest.raises(WaiterError):
        cloud.sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="job")


def test_a_stopped_job_goes_through_stopping(cloud: Any) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training")
    cloud.sagemaker.stop_training_job(TrainingJobName="job")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopping", "Stopping")
    assert run.stopped
    run.reach("Stopping", "Uploading")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopping", "Uploading")
    run.finish("Stopped")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert [step["Status"] for step in job["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Stopping",
        "Uploading",
        "Stopped",
    ]


def test_what_a_run_says_after_its_end_changes_nothing(cloud: Any) -> None:
    run = cloud.train()
    run.finish()
    run.events.secondary_status("Uploading", "late")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")


def test_a_job_out_of_time_is_stopped_with_a_status_of_its_own(cloud: Any) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training", "Stopping")
    run.finish("Stopped", "MaxRuntimeExceeded")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "FailureReason" not in job


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped", "Stopping"])
def test_only_a_job_in_progress_can_be_stopped(cloud: Any, status: str) -> None:
    run = cloud.train()
    if status == "Stopping":
        run.reach("Stopping")
    else:
        run.finish(status, reason="x")
    error = refusal(cloud.sagemaker.stop_training_job, TrainingJobName="job")
    assert error["Code"] == "ValidationException"
    assert error["Message"] == f"The request was rejected because the training job is in status {status}."


def test_metrics_are_read_from_the_log_while_the_job_runs(cloud: Any) -> None:
    run = cloud.train()
    run.reach("Downloading", "Training")
    run.say("epoch=1/2 valid_loss=6.1 valid_perplexity=445.9", 1_700_000_001_000)
    run.say("nothing to see")
    run.say("epoch=2/2 valid_loss=5.4 valid_perplexity=2.2e2", 1_700_000_002_500)
    run.say("test_loss=nan test_perplexity=nan")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    (metric,) = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("valid:perplexity", 220.0)
    assert metric["Timestamp"] == datetime.fromtimestamp(1_700_000_002.5, UTC)


def test_the_log_goes_to_aws_log_group(cloud: Any) -> None:
    cloud.train().say("hello", 1_700_000_001_000)
    stream = "job/algo-1-1700000000000"
    assert cloud.host.logs == [("/aws/sagemaker/TrainingJobs", stream, 1_700_000_001_000, "hello")]


def test_a_metric_definition_must_compile(cloud: Any, requests: Any) -> None:
    request = requests.training("job")
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "a", "Regex": "("}]
    assert (
        "Invalid metric definition regex '('"
        in refusal(cloud.sagemaker.create_training_job, **request)["Message"]
    )


def test_every_change_is_an_event_in_the_order_it_happened(cloud: Any, requests: Any, wait: Any) -> None:
    run = cloud.train("Run-1", Tags=[{"Key": "lexline:run", "Value": "1"}])
    run.reach(*STEPS)
    run.finish()
    wait(lambda: len(cloud.host.events) == 5)
    assert cloud.events(EVENT, "SecondaryStatus") == ["Starting", *STEPS, "Completed"]
    assert cloud.events(EVENT, "TrainingJobStatus") == ["InProgress"] * 4 + ["Completed"]
    kind, detail, resources = cloud.host.events[-1]
    assert (kind, resources) == (EVENT, [f"{ARN}/run-1"])
    assert detail["TrainingJobName"] == "Run-1"
    assert detail["TrainingJobArn"] == f"{ARN}/run-1"
    assert detail["HyperParameters"] == {"epochs": "2"}
    assert detail["ModelArtifacts"]["S3ModelArtifacts"].endswith("/model.tar.gz")
    assert detail["Tags"] == {"lexline:run": "1"}
    assert detail["SecondaryStatusTransitions"][0]["Status"] == "Starting"
    assert isinstance(detail["SecondaryStatusTransitions"][0]["StartTime"], int)
    assert detail["CreationTime"] > 1_700_000_000_000
    assert "FailureReason" not in detail


def test_only_a_failure_carries_a_reason(cloud: Any, wait: Any) -> None:
    run = cloud.train()
    run.finish("Failed", reason="AlgorithmError: no")
    wait(lambda: len(cloud.host.events) == 2)
    assert cloud.events(EVENT, "FailureReason") == [None, "AlgorithmError: no"]


def test_a_rule_that_cannot_be_reached_does_not_silence_later_events(
    cloud: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit, calls = cloud.host.emit, []

    def unsteady(*event: Any) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise OSError("no bus")
        emit(*event)

    monkeypatch.setattr(cloud.host, "emit", unsteady)
    cloud.train().reach("Downloading")
    wait(lambda: cloud.events(EVENT, "SecondaryStatus") == ["Downloading"])


def test_a_name_is_taken_for_good_in_any_case(cloud: Any, requests: Any) -> None:
    cloud.train("Run-1").finish()
    error = refusal(cloud.sagemaker.create_training_job, **requests.training("run-1"))
    assert error["Code"] == "ResourceInUse"
    assert error["Message"] == (
        "Training job names must be unique within an AWS account and region, and a training job with this "
        f"name already exists ({ARN}/run-1)"
    )


def test_an_unknown_job_is_not_found(cloud: Any) -> None:
    for call in (cloud.sagemaker.describe_training_job, cloud.sagemaker.stop_training_job):
        error = refusal(call, TrainingJobName="nobody")
        assert (error["Code"], error["Message"]) == ("ValidationException", "Requested resource not found.")


def test_a_role_that_cannot_be_assumed_is_refused(cloud: Any, requests: Any) -> None:
    role = "arn:aws:iam::000000000000:role/nobody"
    error = refusal(cloud.sagemaker.create_training_job, **requests.training("job", RoleArn=role))
    assert error["Code"] == "ValidationException"
    assert error["Message"] == (
        f"Could not assume role {role}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )


def test_instances_beyond_the_quota_are_refused_until_some_are_free(cloud: Any, requests: Any) -> None:
    many = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 20, "VolumeSizeInGB": 30}
    run = cloud.train("many", ResourceConfig=many)
    error = refusal(cloud.sagemaker.create_training_job, **requests.training("one"))
    assert error["Code"] == "ResourceLimitExceeded"
    assert error["Message"].startswith(
        "The account-level service limit 'ml.m5.xlarge for training job usage' is 20 Instances, with current "
        "utilization of 20 Instances and a request delta of 1 Instances."
    )
    run.finish()
    cloud.train("one")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"EnableManagedSpotTraining": True},
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntime",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90}},
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to",
        ),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
            },
            "Invalid MaxWaitTimeInSeconds",
        ),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "either TrainingImage or AlgorithmName"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "AlgorithmName": "mine"}},
            "not available in the local cloud",
        ),
        ({"ResourceConfig": {"VolumeSizeInGB": 30}}, "needs InstanceType and InstanceCount"),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused(
    cloud: Any, requests: Any, change: dict[str, Any], message: str
) -> None:
    error = refusal(cloud.sagemaker.create_training_job, **requests.training("job", **change))
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]


def test_channels_have_names_of_their_own(cloud: Any, requests: Any) -> None:
    request = requests.training("job")
    request["InputDataConfig"] *= 2
    assert "Duplicate channel names" in refusal(cloud.sagemaker.create_training_job, **request)["Message"]


def spot(cloud: Any) -> Any:
    condition = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    return cloud.train("job", EnableManagedSpotTraining=True, StoppingCondition=condition)


def test_an_interrupted_spot_job_goes_on_in_progress(cloud: Any, wait: Any) -> None:
    run = spot(cloud)
    run.reach("Downloading", "Training", "Interrupted")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert job["EnableManagedSpotTraining"] is True
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("InProgress", "Interrupted")
    started = job["TrainingStartTime"]
    run.reach("Starting", "Downloading", "Training", "Uploading")
    run.finish()
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    statuses = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert statuses == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert all("EndTime" in step for step in job["SecondaryStatusTransitions"])
    assert job["TrainingStartTime"] == started
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] == 42
    wait(lambda: cloud.events(EVENT, "SecondaryStatus") == statuses)


def test_a_spot_job_out_of_waiting_time_is_stopped(cloud: Any, wait: Any) -> None:
    run = spot(cloud)
    run.reach("Downloading", "Training", "Interrupted", "Stopping")
    run.finish("Stopped", "MaxWaitTimeExceeded")
    job = cloud.sagemaker.describe_training_job(TrainingJobName="job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert "FailureReason" not in job
    wait(lambda: cloud.events(EVENT, "SecondaryStatus")[-2:] == ["Stopping", "MaxWaitTimeExceeded"])


def test_closing_ends_the_jobs_that_still_run(cloud: Any) -> None:
    running, done = cloud.train("running"), cloud.train("done")
    done.finish()
    cloud.service.close()
    assert (running.closed, done.closed) == (True, False)
