"""Scripted training jobs: their statuses, metrics and artifacts, and their planned ends."""

from typing import Any

import pytest

from tests.faults.harness.client import Faults
from tests.faults.harness.sagemaker_user import SageMakerUser
from tests.waiting import DEADLINE, wait_until


def metrics(job: dict[str, Any]) -> dict[str, float]:
    return {metric["MetricName"]: metric["Value"] for metric in job.get("FinalMetricDataList", [])}


def statuses(job: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in job["SecondaryStatusTransitions"]]


def training_report(user: SageMakerUser, job: str) -> dict[str, Any]:
    """Return the metrics.json of a job's output."""
    report: dict[str, Any] = user.read_archive(f"s3://{user.bucket}/runs/{job}/output/output.tar.gz")[
        "metrics.json"
    ]
    return report


def test_a_job_has_the_statuses_and_artifacts_of_a_real_one(user: SageMakerUser) -> None:
    job = user.run_job("job")
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{user.bucket}/runs/job/output/model.tar.gz"
    assert user.read_archive(uri)["model.json"]["job"] == "job"
    report = training_report(user, "job")
    assert report["best_epoch"] == len(report["epochs"]) == 1
    assert report["test_perplexity"] == metrics(job)["test:perplexity"] == 50.0
    assert report["comparison"] is None
    assert report["samples"][0]["text"]
    assert user.s3.list_objects_v2(Bucket=user.bucket, Prefix="checkpoints/job/")["KeyCount"] == 1


def test_each_job_is_a_little_better_than_the_last(user: SageMakerUser) -> None:
    first, second = (metrics(user.run_job(name))["test:perplexity"] for name in ("first", "second"))
    assert second < first


def test_a_job_scores_its_champion(faults: Faults, user: SageMakerUser) -> None:
    faults.metrics(test_perplexity=33.5)
    user.run_job("champion")
    job = user.run_job("challenger", training="prepared/", champion="runs/champion/output/model.tar.gz")
    assert metrics(job)["champion:perplexity"] == 33.5
    assert metrics(job)["challenger:perplexity"] == metrics(job)["test:perplexity"] != 33.5
    assert training_report(user, "challenger")["comparison"]["champion"]["perplexity"] == 33.5


def test_a_job_reports_the_planned_metrics(faults: Faults, user: SageMakerUser) -> None:
    faults.metrics(test_perplexity=None, valid_perplexity=7.25)
    reported = metrics(user.run_job("job"))
    assert "test:perplexity" not in reported
    assert reported["valid:perplexity"] == 7.25
    assert faults.unused() == []


def test_a_job_fails_with_the_planned_reason(faults: Faults, user: SageMakerUser) -> None:
    faults.job("Failed", reason="CapacityError: Unable to provision requested ML compute capacity.")
    job = user.run_job("job")
    assert (job["TrainingJobStatus"], job["FailureReason"][:14]) == ("Failed", "CapacityError:")
    assert user.run_job("next")["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize("outcome", ["Stopped", "MaxRuntimeExceeded"])
def test_a_job_is_stopped_as_planned(faults: Faults, user: SageMakerUser, outcome: Any) -> None:
    faults.job(outcome)
    job = user.run_job("job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", outcome)
    assert "S3ModelArtifacts" in job["ModelArtifacts"]


def test_a_job_without_a_spot_instance_trains_nothing(faults: Faults, user: SageMakerUser) -> None:
    faults.job("MaxWaitTimeExceeded")
    job = user.run_job("job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert statuses(job) == ["Starting", "MaxWaitTimeExceeded"]
    assert "ModelArtifacts" not in job


def test_an_interrupted_job_continues_on_another_instance(faults: Faults, user: SageMakerUser) -> None:
    faults.job("Interrupted")
    job = user.run_job("job")
    assert job["TrainingJobStatus"] == "Completed"
    assert statuses(job)[2:6] == ["Training", "Interrupted", "Starting", "Downloading"]
    assert training_report(user, "job")["resumed"] == 1


def test_a_job_without_an_end_trains_until_it_is_stopped(faults: Faults, user: SageMakerUser) -> None:
    faults.job("InProgress")
    user.start_job("job")
    wait_until(lambda: user.describe_job("job")["SecondaryStatus"] == "Training", "the job to train")
    user.api.stop_training_job(TrainingJobName="job")
    job = user.wait_for_job("job")
    assert job["TrainingJobStatus"] == "Stopped"
    assert "S3ModelArtifacts" in job["ModelArtifacts"]


def test_a_slow_job_ends_with_all_delays(faults: Faults, user: SageMakerUser) -> None:
    faults.job("Completed", seconds=10 * DEADLINE)
    user.start_job("job")
    wait_until(lambda: user.describe_job("job")["SecondaryStatus"] == "Training", "the job to train")
    faults.end_delays()
    assert user.wait_for_job("job")["TrainingJobStatus"] == "Completed"


def test_a_job_fails_without_its_data_or_its_permission(user: SageMakerUser) -> None:
    job = user.run_job("empty", training="nowhere/")
    assert 'No S3 objects found under S3 URL "s3://' in job["FailureReason"]
    request = user.job_request("foreign")
    request["OutputDataConfig"]["S3OutputPath"] = "s3://lexline-elsewhere/runs"
    user.api.create_training_job(**request)
    assert "Artifact upload failed: " in user.wait_for_job("foreign")["FailureReason"]
