"""Training jobs through boto3 against the running local cloud, in AWS's own training toolkit."""

import io
import tarfile
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.control import LocalCloud
from localcloud.sagemaker.processes import container
from tests.integration.lab import Lab
from tests.integration.sagemaker.conftest import Client, Inbox, Sagemaker, Until


@pytest.fixture(scope="module")
def jobs(sagemaker: Sagemaker, inbox: Inbox) -> dict[str, str]:
    """The names of this module's jobs by how they end; all start together."""
    names = {
        mode: f"job-{mode}-{uuid.uuid4().hex[:8]}"
        for mode in ("well", "badly", "stopped", "overtime", "together")
    }
    create = sagemaker.api.create_training_job
    tags = [{"Key": "lexline:run", "Value": names["well"]}]
    create(**sagemaker.training(names["well"], Tags=tags))
    create(**sagemaker.training(names["badly"], mode="badly"))
    create(**sagemaker.training(names["stopped"], mode="forever"))
    overtime = {"MaxRuntimeInSeconds": 8}
    create(**sagemaker.training(names["overtime"], mode="forever", StoppingCondition=overtime))
    create(**sagemaker.training_together(names["together"]))
    return names


def test_a_job_trains_and_its_model_is_in_s3(sagemaker: Sagemaker, jobs: dict[str, str]) -> None:
    job = sagemaker.await_job(jobs["well"], "Completed", "Failed")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{sagemaker.bucket}/runs/{jobs['well']}/output/model.tar.gz"
    key = uri.removeprefix(f"s3://{sagemaker.bucket}/")
    body = sagemaker.s3.get_object(Bucket=sagemaker.bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as packed:
        weights = packed.extractfile("weights")
        assert weights is not None
        assert weights.read() == b"2 4 8"
    statuses = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] > 0


def test_metrics_are_read_from_the_scripts_output(sagemaker: Sagemaker, jobs: dict[str, str]) -> None:
    job = sagemaker.await_job(jobs["well"], "Completed", "Failed")
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert metrics == {"valid:perplexity": 50.0, "vocabulary:size": 5.0}


def test_the_scripts_output_is_in_cloudwatch_logs(
    sagemaker: Sagemaker, client: Client, jobs: dict[str, str]
) -> None:
    sagemaker.await_job(jobs["well"], "Completed", "Failed")
    assert "epoch=2/2 valid_loss=5 valid_perplexity=50.0" in logged(client("logs"), jobs["well"], "algo-1")


def logged(logs: Any, job: str, host: str) -> list[str]:
    """The lines in the log of a job's host."""
    group = "/aws/sagemaker/TrainingJobs"
    found = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/{host}-")
    (stream,) = found["logStreams"]
    name = stream["logStreamName"]
    events = logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)["events"]
    return [event["message"] for event in events]


def test_every_step_of_a_job_is_an_event(
    sagemaker: Sagemaker, inbox: Inbox, until: Until, jobs: dict[str, str]
) -> None:
    arn = sagemaker.await_job(jobs["well"], "Completed", "Failed")["TrainingJobArn"]
    events = until(lambda: len(inbox.of(arn)) >= 5 and inbox.of(arn), "the events of the job")
    assert {event["detail-type"] for event in events} == {"SageMaker Training Job State Change"}
    steps = sorted(events, key=lambda event: len(event["detail"]["SecondaryStatusTransitions"]))
    assert [event["detail"]["SecondaryStatus"] for event in steps] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    last = steps[-1]
    assert last["source"] == "aws.sagemaker"
    assert last["detail"]["TrainingJobStatus"] == "Completed"
    assert last["detail"]["TrainingJobName"] == jobs["well"]
    assert last["detail"]["Tags"] == {"lexline:run": jobs["well"]}
    assert "FailureReason" not in last["detail"]


def test_a_script_that_raises_fails_its_job_with_what_it_raised(
    sagemaker: Sagemaker, jobs: dict[str, str]
) -> None:
    job = sagemaker.await_job(jobs["badly"], "Completed", "Failed")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: ")
    assert "the corpus is all about cheese" in job["FailureReason"]
    assert "ModelArtifacts" not in job


def test_a_stopped_job_is_stopping_then_stopped_and_cannot_be_stopped_again(
    sagemaker: Sagemaker, jobs: dict[str, str]
) -> None:
    sagemaker.await_job(jobs["stopped"], "Training")
    sagemaker.api.stop_training_job(TrainingJobName=jobs["stopped"])
    stopping = sagemaker.api.describe_training_job(TrainingJobName=jobs["stopped"])
    assert stopping["TrainingJobStatus"] in ("Stopping", "Stopped")
    job = sagemaker.await_job(jobs["stopped"], "Stopped")
    assert job["SecondaryStatus"] == "Stopped"
    assert "Stopping" in [step["Status"] for step in job["SecondaryStatusTransitions"]]
    with pytest.raises(ClientError, match="rejected because the training job is in status Stopped"):
        sagemaker.api.stop_training_job(TrainingJobName=jobs["stopped"])


def test_a_job_out_of_time_is_stopped(sagemaker: Sagemaker, jobs: dict[str, str]) -> None:
    job = sagemaker.await_job(jobs["overtime"], "Stopped", "Failed", "Completed")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "FailureReason" not in job


def test_two_hosts_train_one_model(sagemaker: Sagemaker, client: Client, jobs: dict[str, str]) -> None:
    job = sagemaker.await_job(jobs["together"], "Completed", "Failed")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    for host in ("algo-1", "algo-2"):
        assert "sum=3 world=2" in logged(client("logs"), jobs["together"], host)
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith("/output/model.tar.gz")


def test_a_jobs_checkpoint_is_in_s3(sagemaker: Sagemaker, jobs: dict[str, str]) -> None:
    job = sagemaker.await_job(jobs["together"], "Completed", "Failed")
    prefix = job["CheckpointConfig"]["S3Uri"].removeprefix(f"s3://{sagemaker.bucket}/")
    kept = sagemaker.s3.get_object(Bucket=sagemaker.bucket, Key=f"{prefix}state")["Body"].read()
    assert kept == b"epoch 1"


@pytest.mark.skipif(container.refusal() is not None, reason="the kernel gives no job an /opt/ml of its own")
def test_an_entry_point_sees_its_own_files_and_not_the_local_clouds(
    sagemaker: Sagemaker, cloud: LocalCloud
) -> None:
    name = f"job-entry-{uuid.uuid4().hex[:8]}"
    request = sagemaker.training(name)
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/bash", "-c"],
        "ContainerArguments": [f"echo [$(ls -A {cloud.state_dir})] > /opt/ml/output/failure; exit 9"],
    }
    sagemaker.api.create_training_job(**request)
    job = sagemaker.await_job(name, "Completed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: [], exit code: 9"


def test_a_role_that_does_not_trust_sagemaker_is_refused(sagemaker: Sagemaker, lab: Lab) -> None:
    role = lab.role("lambda.amazonaws.com")
    with pytest.raises(ClientError, match=f"Could not assume role {role}"):
        sagemaker.api.create_training_job(**sagemaker.training("job-untrusted", RoleArn=role))


def test_an_image_that_the_role_may_not_pull_is_refused(sagemaker: Sagemaker, lab: Lab) -> None:
    pulls = {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetAuthorizationToken"], "Resource": "*"}
    role = lab.role("sagemaker.amazonaws.com", pulls)
    with pytest.raises(ClientError, match="Access denied for the repository of the image"):
        sagemaker.api.create_training_job(**sagemaker.training("job-unpulled", RoleArn=role))
