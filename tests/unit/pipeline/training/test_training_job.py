"""training_job: the request is what AWS's training toolkit expects, and a description means one thing."""

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.dataset import Prepared
from contracts.run import Run
from contracts.training import Champion
from core import environment
from training import training_job

NAME = "lexline--sotu-0123456789ab"


def requested(documents: Any, **run: Any) -> Any:
    """CreateTrainingJob's parameters for a run with these differences."""
    return training_job.request(
        Run.model_validate(documents.run | run),
        Prepared.model_validate(documents.prepared),
        Champion.model_validate(documents.champion),
        image="image",
        role="role",
        bucket="texts",
        source=documents.source["uri"],
        region="eu-west-1",
    )


def test_the_request_is_what_the_training_toolkit_expects(documents: Any) -> None:
    sent = requested(documents)
    assert (sent["TrainingJobName"], sent["RoleArn"]) == (NAME, "role")
    assert sent["AlgorithmSpecification"]["TrainingImage"] == "image"
    assert sent["OutputDataConfig"] == {"S3OutputPath": "s3://texts/runs"}
    hyperparameters = sent["HyperParameters"]
    assert hyperparameters["sagemaker_program"] == "train.py"
    assert hyperparameters["sagemaker_submit_directory"] == documents.source["uri"]
    assert hyperparameters["epochs"] == "6"
    assert hyperparameters["tied"] == "true"
    assert hyperparameters["tokenizer"] == "auto"
    assert all(isinstance(value, str) for value in hyperparameters.values())


def test_the_champion_is_scored_on_the_same_text_and_so_is_a_channel_of_the_job(documents: Any) -> None:
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]
        for channel in requested(documents)["InputDataConfig"]
    }
    assert channels["training"]["S3Uri"] == documents.prepared["prepared_uri"]
    assert channels["champion"]["S3Uri"] == documents.champion["artifact_prefix"]
    for channel in channels.values():
        assert (channel["S3DataType"], channel["S3DataDistributionType"]) == ("S3Prefix", "FullyReplicated")


def test_without_a_champion_there_is_no_channel_for_it(documents: Any) -> None:
    documents.champion["artifact_prefix"] = None
    assert [channel["ChannelName"] for channel in requested(documents)["InputDataConfig"]] == ["training"]


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        ({}, {"MaxRuntimeInSeconds": 86_400, "MaxWaitTimeInSeconds": 172_800}),
        ({"max_runtime_seconds": 600}, {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}),
        ({"max_wait_seconds": 90_000}, {"MaxRuntimeInSeconds": 86_400, "MaxWaitTimeInSeconds": 90_000}),
        ({"spot": False, "max_wait_seconds": 90_000}, {"MaxRuntimeInSeconds": 86_400}),
    ],
)
def test_spot_capacity_is_waited_for_and_other_is_not(
    documents: Any, asked: dict[str, Any], limits: dict[str, int]
) -> None:
    sent = requested(documents, training=asked)
    assert sent["EnableManagedSpotTraining"] is asked.get("spot", True)
    # SageMaker refuses a wait that is shorter than the run, and any wait without spot capacity.
    assert sent["StoppingCondition"] == limits


def test_the_job_says_what_it_is_for(documents: Any) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in requested(documents)["Tags"]}
    assert tags == {"lexline:run": NAME, "lexline:dataset": "sotu"}


def test_what_nobody_asked_for_is_left_to_the_recipe(documents: Any) -> None:
    asked = {"recipe": "awd", "lr": 15, "epochs": None}
    told = requested(documents, hyperparameters=asked)["HyperParameters"]
    assert (told["recipe"], json.loads(told["lr"])) == ("awd", 15)
    assert not {"epochs", "clip", "dropout"} & told.keys()


def test_a_job_keeps_its_checkpoints_under_its_own_name(documents: Any) -> None:
    assert requested(documents)["CheckpointConfig"] == {
        "S3Uri": f"s3://texts/checkpoints/{NAME}/",
        "LocalPath": "/opt/ml/checkpoints",
    }


@pytest.mark.parametrize(
    ("instance_type", "instance_count", "torchrun"),
    [
        ("ml.m5.xlarge", 1, False),
        ("ml.m5.xlarge", 2, True),
        ("ml.g5.xlarge", 1, True),
        ("ml.g5.12xlarge", 1, True),
        ("ml.p4d.24xlarge", 4, True),
    ],
)
def test_torchrun_starts_the_script_where_there_may_be_several_processes(
    documents: Any, instance_type: str, instance_count: int, torchrun: bool
) -> None:
    resources = {"instance_type": instance_type, "instance_count": instance_count}
    sent = requested(documents, training=resources)
    assert sent["ResourceConfig"]["InstanceCount"] == instance_count
    assert ("sagemaker_torch_distributed_enabled" in sent["HyperParameters"]) is torchrun
    # A stopped script has SageMaker's 120 seconds to save, not torchrun's 30.
    assert sent["Environment"] == ({"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "110"} if torchrun else {})


@pytest.mark.parametrize(
    ("instance_type", "image"),
    [
        ("ml.m5.xlarge", "TRAINING_IMAGE_CPU"),
        ("ml.c7i.large", "TRAINING_IMAGE_CPU"),
        ("ml.g5.xlarge", "TRAINING_IMAGE_GPU"),
        ("ml.p4d.24xlarge", "TRAINING_IMAGE_GPU"),
    ],
)
def test_an_accelerated_instance_gets_the_gpu_image(
    instance_type: str, image: str, variables: dict[str, str]
) -> None:
    assert environment.training_image(instance_type) == variables[image]


def test_the_metric_definitions_read_what_train_prints() -> None:
    printed = (
        "vocabulary_size=33278 parameters=7345678 train_tokens=2088628\n"
        "epoch=1/6 step=200/2983 lr=20 words_per_second=1432 train_loss=5.12 train_perplexity=168.02\n"
        "epoch=1/6 seconds=123.4 valid_loss=5.42 valid_perplexity=inf\n"
        "test_loss=5.33 test_perplexity=2.083e+02\n"
        "champion_perplexity=215.20 challenger_perplexity=208.30\n"
    )
    found = {name: re.findall(regex, printed) for name, regex in training_job.METRICS.items()}
    assert found == {
        "train:perplexity": ["168.02"],
        "train:words_per_second": ["1432"],
        "valid:perplexity": ["inf"],
        "test:perplexity": ["2.083e+02"],
        "vocabulary:size": ["33278"],
        "champion:perplexity": ["215.20"],
        "challenger:perplexity": ["208.30"],
    }


def test_a_completed_job_is_trained(described: Any, documents: Any) -> None:
    outcome = training_job.outcome(described.completed_job())
    assert outcome
    assert json.loads(outcome.model_dump_json()) == documents.trained  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "secondary", "more", "error", "said"),
    [
        (
            "Failed",
            "Failed",
            {"FailureReason": "AlgorithmError: exit code 1"},
            "TrainingFailed",
            "AlgorithmError",
        ),
        ("Failed", "Failed", {}, "TrainingFailed", "gave no reason"),
        ("Stopped", "Stopped", {}, "TrainingStopped", "was stopped"),
        (
            "Stopped",
            "MaxRuntimeExceeded",
            {},
            "TrainingTimedOut",
            "3600 s. Raise training.max_runtime_seconds",
        ),
        (
            "Stopped",
            "MaxWaitTimeExceeded",
            {},
            "TrainingTimedOut",
            "not done within 7200 s on spot capacity. Raise training.max_wait_seconds, or set training.spot",
        ),
        ("Deleting", "Stopped", {}, "TrainingStopped", "was stopped"),
    ],
)
def test_a_job_that_ended_otherwise_is_an_error(
    described: Any, status: str, secondary: str, more: dict[str, str], error: str, said: str
) -> None:
    outcome = training_job.outcome(described.training_job(status, secondary, **more))
    assert type(outcome).__name__ == error
    assert said in str(outcome)


@pytest.mark.parametrize(
    ("status", "secondary"),
    [
        ("InProgress", "Starting"),
        ("InProgress", "Interrupted"),
        ("InProgress", "MaxRuntimeExceeded"),
        ("Stopping", "Stopping"),
    ],
)
def test_a_job_under_way_is_no_answer(described: Any, status: str, secondary: str) -> None:
    assert training_job.outcome(described.training_job(status, secondary)) is None


def test_a_job_that_has_just_ended_is_none_the_less_stopped(stubbed: Any) -> None:
    stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=NAME)
    training_job.stop(NAME)
    stubbed.refuses("sagemaker", "stop_training_job", "ValidationException", "The job is not in a state")
    training_job.stop(NAME)
    stubbed.refuses("sagemaker", "stop_training_job", "ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        training_job.stop(NAME)
