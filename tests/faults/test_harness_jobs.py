"""Scripted training jobs: what they say and leave, and how they end as planned."""

import time
from typing import Any

import pytest

from tests.faults.byhand import ByHand
from tests.faults.plan import Faults


def metrics(job: dict[str, Any]) -> dict[str, float]:
    return {metric["MetricName"]: metric["Value"] for metric in job.get("FinalMetricDataList", [])}


def stages(job: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in job["SecondaryStatusTransitions"]]


def test_a_job_goes_through_its_stages_and_leaves_what_a_real_one_leaves(byhand: ByHand) -> None:
    job = byhand.trained("job")
    assert stages(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{byhand.bucket}/runs/job/output/model.tar.gz"
    assert byhand.unpacked(uri)["model.json"]["job"] == "job"
    document = byhand.unpacked(uri.replace("model.tar", "output.tar"))["metrics.json"]
    assert document["best_epoch"] == len(document["epochs"]) == 1
    assert document["test_perplexity"] == metrics(job)["test:perplexity"] == 50.0
    assert document["comparison"] is None
    assert document["samples"][0]["text"]
    assert byhand.s3.list_objects_v2(Bucket=byhand.bucket, Prefix="checkpoints/job/")["KeyCount"] == 1


def test_each_job_is_a_little_better_than_the_one_before(byhand: ByHand) -> None:
    first, second = (metrics(byhand.trained(name))["test:perplexity"] for name in ("first", "second"))
    assert second < first


def test_a_job_scores_the_champion_it_is_given(faults: Faults, byhand: ByHand) -> None:
    faults.metrics(test_perplexity=33.5)
    byhand.trained("champion")
    job = byhand.trained("challenger", training="prepared/", champion="runs/champion/output/model.tar.gz")
    assert metrics(job)["champion:perplexity"] == 33.5
    assert metrics(job)["challenger:perplexity"] == metrics(job)["test:perplexity"] != 33.5
    output = byhand.unpacked(f"s3://{byhand.bucket}/runs/challenger/output/output.tar.gz")
    assert output["metrics.json"]["comparison"]["champion"]["perplexity"] == 33.5


def test_a_job_reports_the_planned_metrics_and_leaves_out_what_is_none(
    faults: Faults, byhand: ByHand
) -> None:
    faults.metrics(test_perplexity=None, valid_perplexity=7.25)
    reported = metrics(byhand.trained("job"))
    assert "test:perplexity" not in reported
    assert reported["valid:perplexity"] == 7.25
    assert faults.unused() == []


def test_a_job_fails_with_the_planned_reason(faults: Faults, byhand: ByHand) -> None:
    faults.job("Failed", reason="CapacityError: Unable to provision requested ML compute capacity.")
    job = byhand.trained("job")
    assert (job["TrainingJobStatus"], job["FailureReason"][:14]) == ("Failed", "CapacityError:")
    assert byhand.trained("next")["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(("outcome", "secondary"), [("Stopped", "Stopped"), ("MaxRuntimeExceeded",) * 2])
def test_a_job_is_stopped_as_planned(faults: Faults, byhand: ByHand, outcome: Any, secondary: str) -> None:
    faults.job(outcome)
    job = byhand.trained("job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", secondary)
    assert "S3ModelArtifacts" in job["ModelArtifacts"]


def test_a_job_that_never_gets_its_spot_instance_trains_nothing(faults: Faults, byhand: ByHand) -> None:
    faults.job("MaxWaitTimeExceeded")
    job = byhand.trained("job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert stages(job) == ["Starting", "MaxWaitTimeExceeded"]
    assert "ModelArtifacts" not in job


def test_an_interrupted_job_goes_on_on_another_instance(faults: Faults, byhand: ByHand) -> None:
    faults.job("Interrupted")
    job = byhand.trained("job")
    assert job["TrainingJobStatus"] == "Completed"
    assert stages(job)[2:6] == ["Training", "Interrupted", "Starting", "Downloading"]
    output = byhand.unpacked(f"s3://{byhand.bucket}/runs/job/output/output.tar.gz")
    assert output["metrics.json"]["resumed"] == 1


def test_a_job_without_end_ends_when_it_is_stopped(faults: Faults, byhand: ByHand) -> None:
    faults.job("InProgress")
    byhand.api.create_training_job(**byhand.training("job"))

    def seen() -> Any:
        return byhand.api.describe_training_job(TrainingJobName="job")

    byhand.until(seen, lambda job: job["SecondaryStatus"] == "Training")
    time.sleep(0.2)
    assert seen()["SecondaryStatus"] == "Training"
    byhand.api.stop_training_job(TrainingJobName="job")
    job = byhand.ended("job")
    assert job["TrainingJobStatus"] == "Stopped"
    assert "S3ModelArtifacts" in job["ModelArtifacts"]


def test_a_slow_job_takes_so_long(faults: Faults, byhand: ByHand) -> None:
    faults.job("Completed", seconds=0.3)
    began = time.monotonic()
    assert byhand.trained("job")["TrainingJobStatus"] == "Completed"
    assert time.monotonic() - began >= 0.3


def test_a_slow_job_is_over_when_all_is_to_be(faults: Faults, byhand: ByHand) -> None:
    faults.job("Completed", seconds=600.0)
    byhand.api.create_training_job(**byhand.training("job"))
    faults.catch_up()
    assert byhand.ended("job")["TrainingJobStatus"] == "Completed"


def test_a_job_fails_without_its_data_or_the_right_to_it(byhand: ByHand) -> None:
    job = byhand.trained("empty", training="nowhere/")
    assert 'No S3 objects found under S3 URL "s3://' in job["FailureReason"]
    request = byhand.training("foreign")
    request["OutputDataConfig"]["S3OutputPath"] = "s3://lexline-elsewhere/runs"
    byhand.api.create_training_job(**request)
    assert "Artifact upload failed: " in byhand.ended("foreign")["FailureReason"]
