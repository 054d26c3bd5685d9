"""The training job: the request that starts it, and what its description means for the waiting state."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from contracts.dataset import Prepared
from contracts.request import TrainingResources
from contracts.run import Run
from contracts.training import Champion, Trained
from core import aws, environment
from core.errors import PipelineError, TrainingFailed, TrainingStopped, TrainingTimedOut, code_of

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import TrainingInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import (
        ChannelTypeDef,
        CreateTrainingJobRequestTypeDef,
        DescribeTrainingJobResponseTypeDef,
        StoppingConditionTypeDef,
    )

_NUMBER = r"([0-9.eE+-]+|inf|nan)"
# What train.py prints, as `name=number`, becomes a metric of this name in CloudWatch and in
# FinalMetricDataList.
METRICS = {
    "train:perplexity": f"train_perplexity={_NUMBER}",
    "train:words_per_second": f"words_per_second={_NUMBER}",
    "valid:perplexity": f"valid_perplexity={_NUMBER}",
    "test:perplexity": f"test_perplexity={_NUMBER}",
    "vocabulary:size": r"vocabulary_size=([0-9]+)",
    "champion:perplexity": f"champion_perplexity={_NUMBER}",
    "challenger:perplexity": f"challenger_perplexity={_NUMBER}",
}
# A prepared corpus is at most some gigabytes, and so are models of the sizes the contract allows.
_VOLUME_GB = 30
_CHECKPOINTS = "/opt/ml/checkpoints"
# SageMaker gives a stopped job 120 s from SIGTERM to SIGKILL; torchrun would kill the script after 30 s,
# unless it is told otherwise.
_SECONDS_TO_SAVE = 110


def request(
    run: Run,
    prepared: Prepared,
    champion: Champion,
    *,
    image: str,
    role: str,
    bucket: str,
    source: str,
    region: str,
) -> CreateTrainingJobRequestTypeDef:
    """CreateTrainingJob's parameters, by the script-mode contract of AWS's training toolkit.

    The champion's artifact goes along as a second channel, so that the job scores both models on one text.
    """
    channels = {"training": prepared.prepared_uri, "champion": champion.artifact_prefix}
    hyperparameters = {name: _text(value) for name, value in run.hyperparameters if value is not None}
    environment = {}
    if _needs_torchrun(run.training):
        # The toolkit then starts the script through torchrun: once per GPU, or once on a host without any.
        hyperparameters["sagemaker_torch_distributed_enabled"] = "true"
        environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(_SECONDS_TO_SAVE)
    return {
        "TrainingJobName": run.name,
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in METRICS.items()],
        },
        "HyperParameters": {
            **hyperparameters,
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": source,
            "sagemaker_region": region,
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": run.name,
        },
        "Environment": environment,
        "InputDataConfig": [_channel(name, uri) for name, uri in channels.items() if uri],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/runs"},
        # The script leaves there what it goes on from, and finds it again when its instance was replaced.
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/checkpoints/{run.name}/", "LocalPath": _CHECKPOINTS},
        "ResourceConfig": {
            "InstanceType": cast("TrainingInstanceTypeType", run.training.instance_type),
            "InstanceCount": run.training.instance_count,
            "VolumeSizeInGB": _VOLUME_GB,
        },
        "EnableManagedSpotTraining": run.training.spot,
        "StoppingCondition": _stopping_condition(run.training),
        "Tags": [
            {"Key": "lexline:run", "Value": run.name},
            {"Key": "lexline:dataset", "Value": prepared.dataset},
        ],
    }


def _channel(name: str, uri: str) -> ChannelTypeDef:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def _stopping_condition(training: TrainingResources) -> StoppingConditionTypeDef:
    if not training.spot:
        return {"MaxRuntimeInSeconds": training.max_runtime_seconds}
    return {
        "MaxRuntimeInSeconds": training.max_runtime_seconds,
        "MaxWaitTimeInSeconds": training.max_wait_seconds or 2 * training.max_runtime_seconds,
    }


def _needs_torchrun(training: TrainingResources) -> bool:
    """Whether there may be several processes to bring together.

    A GPU instance has one GPU or more, by its size. On one processor torchrun would only stand between the
    job and its script, its signals and its errors.
    """
    return training.instance_count > 1 or environment.has_gpu(training.instance_type)


def _text(value: object) -> str:
    # SageMaker's hyperparameters are strings, and the toolkit reads each back as JSON where it can.
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe(name: str) -> DescribeTrainingJobResponseTypeDef | None:
    """The job as SageMaker has it, or None."""
    try:
        return aws.sagemaker().describe_training_job(TrainingJobName=name)
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise


def stop(name: str) -> None:
    """Have a job stopped; one that has just ended is none the less stopped."""
    try:
        aws.sagemaker().stop_training_job(TrainingJobName=name)
    except ClientError as error:
        # SageMaker will not stop what does not run.
        if code_of(error) != "ValidationException":
            raise


def outcome(job: DescribeTrainingJobResponseTypeDef) -> Trained | PipelineError | None:
    """What the job came to, or None while it runs."""
    name = job["TrainingJobName"]
    status = job["TrainingJobStatus"]
    if status == "Completed":
        return Trained(
            job=name,
            arn=job["TrainingJobArn"],
            model_artifacts=job["ModelArtifacts"]["S3ModelArtifacts"],
            instance_type=str(job["ResourceConfig"].get("InstanceType", "")),
            instance_count=job["ResourceConfig"].get("InstanceCount", 1),
            spot=job.get("EnableManagedSpotTraining", False),
            training_seconds=job.get("TrainingTimeInSeconds", 0),
            billable_seconds=job.get("BillableTimeInSeconds", 0),
            metrics={metric["MetricName"]: metric["Value"] for metric in job.get("FinalMetricDataList", [])},
        )
    if status == "Failed":
        return TrainingFailed(job.get("FailureReason") or f"Training job {name} failed and gave no reason.")
    if status == "Stopped" and job["SecondaryStatus"] == "MaxRuntimeExceeded":
        limit = job["StoppingCondition"].get("MaxRuntimeInSeconds", 0)
        return TrainingTimedOut(
            f"Training job {name} was stopped at its limit of {limit} s. Raise training.max_runtime_seconds, "
            "take fewer hyperparameters.epochs, or a faster training.instance_type."
        )
    if status == "Stopped" and job["SecondaryStatus"] == "MaxWaitTimeExceeded":
        limit = job["StoppingCondition"].get("MaxWaitTimeInSeconds", 0)
        return TrainingTimedOut(
            f"Training job {name} was not done within {limit} s on spot capacity. Raise "
            "training.max_wait_seconds, or set training.spot to false for capacity that AWS does not take "
            "back."
        )
    if status in ("Stopped", "Deleting"):
        return TrainingStopped(
            f"Training job {name} was stopped before it ended. Start the run again to train anew."
        )
    return None
