"""training_job: the request is as AWS's training toolkit expects it, and how a description is read."""

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.training import Trained, TrainInput
from tests.unit.pipeline.documents import ENVIRONMENT, NAME, STACK_ID, Documents
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, StubbedAws
from training import training_job


def request(documents: Documents, **run: Any) -> Any:
    """Return CreateTrainingJob's parameters for a run with these differences."""
    given = {name: getattr(documents, name) for name in ("lease", "prepared", "source", "champion")}
    return training_job.request(
        TrainInput.model_validate({**given, "token": "token-1", "run": documents.run | run})
    )


def test_the_request_is_as_the_training_toolkit_expects_it(documents: Documents) -> None:
    sent = request(documents)
    assert (sent["TrainingJobName"], sent["RoleArn"]) == (NAME, ENVIRONMENT["EXECUTION_ROLE_ARN"])
    assert sent["AlgorithmSpecification"]["TrainingImage"] == ENVIRONMENT["TRAINING_IMAGE_CPU"]
    assert sent["OutputDataConfig"] == {"S3OutputPath": "s3://texts/runs"}
    checkpoints = {"S3Uri": f"s3://texts/checkpoints/{NAME}/", "LocalPath": "/opt/ml/checkpoints"}
    assert sent["CheckpointConfig"] == checkpoints
    assert {tag["Key"]: tag["Value"] for tag in sent["Tags"]} == {
        "lexline:stack": STACK_ID,
        "lexline:run": NAME,
        "lexline:dataset": "sotu",
    }
    expected = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": documents.source["uri"],
        "epochs": "6",
        "tied": "true",
        "tokenizer": "auto",
    }
    assert expected.items() <= sent["HyperParameters"].items()
    assert all(isinstance(value, str) for value in sent["HyperParameters"].values())


def test_the_champion_is_a_channel_so_that_the_job_scores_it_on_the_same_text(documents: Documents) -> None:
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]
        for channel in request(documents)["InputDataConfig"]
    }
    assert channels["training"]["S3Uri"] == documents.prepared["prepared_uri"]
    assert channels["champion"]["S3Uri"] == documents.champion["artifact_prefix"]
    for channel in channels.values():
        assert (channel["S3DataType"], channel["S3DataDistributionType"]) == ("S3Prefix", "FullyReplicated")
    documents.champion["artifact_prefix"] = None
    assert [channel["ChannelName"] for channel in request(documents)["InputDataConfig"]] == ["training"]


@pytest.mark.parametrize(
    ("training", "limits"),
    [
        ({}, {"MaxRuntimeInSeconds": 86_400, "MaxWaitTimeInSeconds": 172_800}),
        ({"max_runtime_seconds": 600}, {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}),
        ({"max_wait_seconds": 90_000}, {"MaxRuntimeInSeconds": 86_400, "MaxWaitTimeInSeconds": 90_000}),
        ({"spot": False, "max_wait_seconds": 90_000}, {"MaxRuntimeInSeconds": 86_400}),
    ],
)
def test_only_a_job_on_spot_capacity_has_a_limit_for_waiting(
    documents: Documents, training: dict[str, Any], limits: dict[str, int]
) -> None:
    """SageMaker refuses a wait that is shorter than the run, and any wait without spot capacity."""
    sent = request(documents, training=training)
    assert sent["EnableManagedSpotTraining"] is training.get("spot", True)
    assert sent["StoppingCondition"] == limits


@pytest.mark.parametrize(
    ("gigabytes", "volume"), [(0.001, 30), (2.5, 30), (2.6, 31), (100, 420), (1000, 4020)]
)
def test_the_volume_follows_the_size_of_the_text(documents: Documents, gigabytes: float, volume: int) -> None:
    text = int(gigabytes * 10**9)
    sizes = {"train": text * 9 // 10, "valid": text // 20, "test": text // 20}
    for split, size in sizes.items():
        documents.prepared["splits"][split]["bytes"] = size
    assert request(documents)["ResourceConfig"]["VolumeSizeInGB"] == volume


def test_a_hyperparameter_without_a_value_is_left_to_the_recipe(documents: Documents) -> None:
    sent = request(documents, hyperparameters={"recipe": "awd", "lr": 15, "epochs": None})["HyperParameters"]
    assert (sent["recipe"], json.loads(sent["lr"])) == ("awd", 15)
    assert not {"epochs", "clip", "dropout"} & sent.keys()


@pytest.mark.parametrize(
    ("instance_type", "instance_count", "torchrun"),
    [
        ("ml.m5.xlarge", 1, False),
        ("ml.m5.xlarge", 2, True),
        ("ml.g5.xlarge", 1, True),
        ("ml.p4d.24xlarge", 4, True),
    ],
)
def test_torchrun_starts_the_script_if_there_may_be_several_processes(
    documents: Documents, instance_type: str, instance_count: int, torchrun: bool
) -> None:
    sent = request(documents, training={"instance_type": instance_type, "instance_count": instance_count})
    assert sent["ResourceConfig"]["InstanceCount"] == instance_count
    assert ("sagemaker_torch_distributed_enabled" in sent["HyperParameters"]) is torchrun
    # A stopped script has SageMaker's 120 seconds to save, not torchrun's 30.
    assert sent["Environment"] == ({"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "110"} if torchrun else {})


def test_the_metric_definitions_match_what_the_script_prints() -> None:
    printed = (
        "vocabulary_size=33278 parameters=7345678 train_tokens=2088628\n"
        "epoch=1/6 step=200/2983 lr=20 words_per_second=1432 train_loss=5.12 train_perplexity=168.02\n"
        "epoch=1/6 seconds=123.4 valid_loss=5.42 valid_perplexity=inf\n"
        "test_loss=5.33 test_perplexity=2.083e+02 test_unknown_share=0.0210 test_exact_perplexity=250.10 "
        "test_words=34012\n"
        "champion_perplexity=215.20 challenger_perplexity=208.30\n"
        # No metric has this figure, so the gate cannot use it.
        "test_cache_perplexity=99.90 without_cache=209.10 cache_tokens=50000\n"
    )
    found = {name: re.findall(regex, printed) for name, regex in training_job.METRICS.items()}
    assert found == {
        "train:perplexity": ["168.02"],
        "train:words_per_second": ["1432"],
        "valid:perplexity": ["inf"],
        "test:perplexity": ["2.083e+02"],
        "test:unknown_share": ["0.0210"],
        "test:exact_perplexity": ["250.10"],
        "test:words": ["34012"],
        "vocabulary:size": ["33278"],
        "champion:perplexity": ["215.20"],
        "challenger:perplexity": ["208.30"],
    }


# --- the outcome


def test_a_completed_job_has_a_result(described: Described, documents: Documents) -> None:
    job: Any = described.completed_job()
    assert training_job.outcome(job) == Trained.model_validate(documents.trained)


@pytest.mark.parametrize(
    ("status", "secondary", "more", "error", "message"),
    [
        ("Failed", "Failed", {"FailureReason": "exit code 1"}, "TrainingFailed", "exit code 1"),
        ("Failed", "Failed", {}, "TrainingFailed", "gave no reason"),
        ("Stopped", "Stopped", {}, "TrainingStopped", "was stopped"),
        ("Deleting", "Stopped", {}, "TrainingStopped", "was stopped"),
        ("Stopped", "MaxRuntimeExceeded", {}, "TrainingTimedOut", "3600 s. Raise training.max_runtime"),
        (
            "Stopped",
            "MaxWaitTimeExceeded",
            {},
            "TrainingTimedOut",
            "7200 s on spot capacity. Raise training.",
        ),
    ],
)
def test_a_job_that_did_not_complete_is_an_error(
    described: Described, status: str, secondary: str, more: dict[str, str], error: str, message: str
) -> None:
    job: Any = described.training_job(status, secondary, **more)
    outcome = training_job.outcome(job)
    assert type(outcome).__name__ == error
    assert message in str(outcome)


@pytest.mark.parametrize(
    ("status", "secondary"),
    [
        ("InProgress", "Starting"),
        ("InProgress", "Interrupted"),
        ("InProgress", "MaxRuntimeExceeded"),
        ("Stopping", "Stopping"),
    ],
)
def test_a_job_in_progress_has_no_outcome(described: Described, status: str, secondary: str) -> None:
    job: Any = described.training_job(status, secondary)
    assert training_job.outcome(job) is None


def test_stopping_is_no_error_if_the_job_has_ended(expect: ExpectedCalls, stubbed: StubbedAws) -> None:
    expect.stop_training_job()
    training_job.stop(NAME)
    stubbed.refuses("sagemaker", "stop_training_job", "ValidationException", "The job is not in a state")
    training_job.stop(NAME)
    stubbed.refuses("sagemaker", "stop_training_job", "ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        training_job.stop(NAME)
