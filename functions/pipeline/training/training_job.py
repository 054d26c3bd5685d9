"""The training job: its request, its description, and its outcome."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from contracts.dataset import Splits
from contracts.request import TrainingResources
from contracts.training import Trained, TrainInput
from core import aws, environment, ownership
from core.errors import PipelineError, TrainingFailed, TrainingStopped, TrainingTimedOut, code_of

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import type_defs as types
    from mypy_boto3_sagemaker.literals import TrainingInstanceTypeType

_NUMBER = r"([0-9.eE+-]+|inf|nan)"
# The numbers that train.py prints as `name=number` become metrics of these names, in CloudWatch and in
# FinalMetricDataList.
METRICS = {
    "train:perplexity": f"train_perplexity={_NUMBER}",
    "train:words_per_second": f"words_per_second={_NUMBER}",
    "valid:perplexity": f"valid_perplexity={_NUMBER}",
    "test:perplexity": f"test_perplexity={_NUMBER}",
    "test:unknown_share": f"test_unknown_share={_NUMBER}",
    "test:exact_perplexity": f"test_exact_perplexity={_NUMBER}",
    "test:words": r"test_words=([0-9]+)",
    "vocabulary:size": r"vocabulary_size=([0-9]+)",
    "champion:perplexity": f"champion_perplexity={_NUMBER}",
    "challenger:perplexity": f"challenger_perplexity={_NUMBER}",
}
_SMALLEST_VOLUME_GB = 30
# Enough for the largest models that the contracts allow, the new one and the champion, with a checkpoint.
_GB_FOR_MODELS = 20
# The bytes on disk for each byte of text: the text once, and its word numbers in up to two forms at a time.
# A number takes 4 bytes, a Chinese character 3 and an English word 5. The rest is head room.
_BYTES_PER_BYTE_OF_TEXT = 4
_CHECKPOINTS = "/opt/ml/checkpoints"
# SageMaker sends SIGTERM to a stopped job, and SIGKILL 120 s later. torchrun's own default is 30 s.
_SECONDS_TO_SAVE = 110


def request(given: TrainInput) -> types.CreateTrainingJobRequestTypeDef:
    """Return CreateTrainingJob's parameters, by the script-mode contract of AWS's training toolkit.

    The champion's artifact is a second channel, so that the job scores both models on the same text.
    """
    run, bucket = given.run, environment.bucket()
    channels = {"training": given.prepared.prepared_uri, "champion": given.champion.artifact_prefix}
    hyperparameters = {name: _text(value) for name, value in run.hyperparameters if value is not None}
    variables = {}
    if run.training.instance_count > 1 or environment.has_gpu(run.training.instance_type):
        # The toolkit then starts the script with torchrun: one process per GPU, or one on a host without
        # GPUs. On one processor, torchrun would only hide the script's signals and errors.
        hyperparameters["sagemaker_torch_distributed_enabled"] = "true"
        variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(_SECONDS_TO_SAVE)
    return {
        "TrainingJobName": run.name,
        "RoleArn": environment.execution_role_arn(),
        "AlgorithmSpecification": {
            "TrainingImage": environment.training_image(run.training.instance_type),
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in METRICS.items()],
        },
        "HyperParameters": {
            **hyperparameters,
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": given.source.uri,
            "sagemaker_region": environment.region(),
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": run.name,
        },
        "Environment": variables,
        "InputDataConfig": [_channel(name, uri) for name, uri in channels.items() if uri],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/runs"},
        # The script writes its checkpoints there, and resumes from them when its instance was replaced.
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/checkpoints/{run.name}/", "LocalPath": _CHECKPOINTS},
        "ResourceConfig": {
            "InstanceType": cast("TrainingInstanceTypeType", run.training.instance_type),
            "InstanceCount": run.training.instance_count,
            "VolumeSizeInGB": volume_gb(given.prepared.splits),
        },
        "EnableManagedSpotTraining": run.training.spot,
        "StoppingCondition": _stopping_condition(run.training),
        "Tags": [
            ownership.tag(),
            {"Key": "lexline:run", "Value": run.name},
            {"Key": "lexline:dataset", "Value": given.prepared.dataset},
        ],
    }


def volume_gb(splits: Splits) -> int:
    """Return the size of the training job's volume for a corpus."""
    text = splits.train.bytes + splits.valid.bytes + splits.test.bytes
    return max(_SMALLEST_VOLUME_GB, _GB_FOR_MODELS + math.ceil(_BYTES_PER_BYTE_OF_TEXT * text / 10**9))


def _channel(name: str, uri: str) -> types.ChannelTypeDef:
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


def _stopping_condition(training: TrainingResources) -> types.StoppingConditionTypeDef:
    limit: types.StoppingConditionTypeDef = {"MaxRuntimeInSeconds": training.max_runtime_seconds}
    if training.spot:
        limit["MaxWaitTimeInSeconds"] = training.max_wait_seconds or 2 * training.max_runtime_seconds
    return limit


def _text(value: object) -> str:
    # SageMaker's hyperparameters are strings. The toolkit parses each as JSON if it can.
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe(name: str) -> types.DescribeTrainingJobResponseTypeDef | None:
    """Return DescribeTrainingJob's response, or None if the job does not exist."""
    return aws.or_none(lambda: aws.sagemaker().describe_training_job(TrainingJobName=name))


def stop(name: str) -> None:
    """Stop the job. Do nothing if it has ended.

    Raises:
        NotOwned: the job is not this stack's.
    """
    if not ownership.check("training-job", name):
        return
    # SageMaker refuses to stop a job that is not in progress.
    with aws.allowing(lambda error: code_of(error) == "ValidationException"):
        aws.sagemaker().stop_training_job(TrainingJobName=name)


def outcome(job: types.DescribeTrainingJobResponseTypeDef) -> Trained | PipelineError | None:
    """Return the job's result or error, or None while it is in progress."""
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
        return TrainingFailed(
            job.get("FailureReason")
            or f"Training job {name} failed, and SageMaker gave no reason. See its log."
        )
    if status == "Stopped" and job["SecondaryStatus"] == "MaxRuntimeExceeded":
        limit = job["StoppingCondition"].get("MaxRuntimeInSeconds", 0)
        return TrainingTimedOut(
            f"Training job {name} was stopped at its limit of {limit} s. Raise training.max_runtime_seconds, "
            "lower hyperparameters.epochs, or choose a faster training.instance_type."
        )
    if status == "Stopped" and job["SecondaryStatus"] == "MaxWaitTimeExceeded":
        limit = job["StoppingCondition"].get("MaxWaitTimeInSeconds", 0)
        return TrainingTimedOut(
            f"Training job {name} did not finish within {limit} s on spot capacity. Raise "
            "training.max_wait_seconds, or set training.spot to false: AWS does not interrupt on-demand "
            "capacity."
        )
    if status in ("Stopped", "Deleting"):
        return TrainingStopped(
            f"Training job {name} was stopped before it finished. Start the run again to train the model."
        )
    return None
