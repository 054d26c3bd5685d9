"""The training job: the request that starts it, and what its description means for the waiting state."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import aws
import settings
from botocore.exceptions import ClientError
from contracts import Prepared, Run, Trained, TrainingResources
from errors import PipelineError, TrainingFailed, TrainingStopped, TrainingTimedOut

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import TrainingInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import (
        CreateTrainingJobRequestTypeDef,
        DescribeTrainingJobResponseTypeDef,
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
}
# A prepared corpus is at most some gigabytes, and so are models of the sizes the contract allows.
_VOLUME_GB = 30
_CHECKPOINTS = "/opt/ml/checkpoints"
# SageMaker gives a stopped job 120 s from SIGTERM to SIGKILL; torchrun would kill the script after 30 s,
# unless it is told otherwise.
_SECONDS_TO_SAVE = 110


def request(
    run: Run, prepared: Prepared, *, image: str, role: str, bucket: str, source: str, region: str
) -> CreateTrainingJobRequestTypeDef:
    """CreateTrainingJob's parameters, by the script-mode contract of AWS's training toolkit."""
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
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": prepared.prepared_uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/runs"},
        # The script leaves there what it goes on from, and finds it again when its instance was replaced.
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/checkpoints/{run.name}/", "LocalPath": _CHECKPOINTS},
        "ResourceConfig": {
            "InstanceType": cast("TrainingInstanceTypeType", run.training.instance_type),
            "InstanceCount": run.training.instance_count,
            "VolumeSizeInGB": _VOLUME_GB,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": run.training.max_runtime_seconds},
        "Tags": [{"Key": "lexline:run", "Value": run.name}, {"Key": "lexline:dataset", "Value": run.dataset}],
    }


def _needs_torchrun(training: TrainingResources) -> bool:
    """Whether there may be several processes to bring together.

    A GPU instance has one GPU or more, by its size. On one processor torchrun would only stand between the
    job and its script, its signals and its errors.
    """
    return training.instance_count > 1 or settings.has_gpu(training.instance_type)


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
    if status in ("Stopped", "Deleting"):
        return TrainingStopped(
            f"Training job {name} was stopped before it ended. Start the run again to train anew."
        )
    return None
