"""training: one job per run, whatever is retried; whoever sees the job end answers the waiting state."""

import json
import re
from typing import Any

import pytest
import source_code
import training
import training_job
from botocore.stub import ANY
from contracts import Prepared, Run
from errors import AccessDenied, CapacityUnavailable, Throttled

NAME = "lexline-sotu-0123456789ab"
NOT_FOUND = ("ValidationException", "Requested resource not found.")


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_code, "upload", lambda bucket: f"s3://{bucket}/code/ab/sourcedir.tar.gz")


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {"token": "token-1", "run": documents.run, "prepared": documents.prepared}


@pytest.fixture
def stored(stubbed: Any, described: Any, documents: Any) -> None:
    """The token is stored, under the ARN that the job will have."""
    stubbed.answers(
        "dynamodb",
        "update_item",
        {"Attributes": described.item("token-1", documents.trained["arn"])},
        TableName="tokens",
        Key={"resource": {"S": documents.trained["arn"]}},
        UpdateExpression=ANY,
        ExpressionAttributeNames=ANY,
        ExpressionAttributeValues={":token": {"S": "token-1"}, ":run": {"S": NAME}, ":expires": ANY},
        ReturnValues="ALL_NEW",
    )


@pytest.mark.usefixtures("stored")
def test_the_token_is_stored_before_the_job_is_created(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.answers("sagemaker", "create_training_job", {"TrainingJobArn": "arn:aws:sagemaker:::x"})
    stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    training.handler(event, context)
    assert stubbed.calls == ["UpdateItem", "DescribeTrainingJob", "CreateTrainingJob", "DescribeTrainingJob"]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("job", ["runs", "completed", "throttled"])
def test_a_task_token_is_neither_logged_nor_part_of_an_error(
    stubbed: Any, event: Any, context: Any, described: Any, metrics_written: Any, job: str
) -> None:
    # Whoever has it can end the waiting state.
    if job == "runs":
        stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    elif job == "completed":
        stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
        stubbed.refuses("stepfunctions", "send_task_success", "TaskTimedOut", "Task Timed Out: 'arn'")
    else:
        stubbed.refuses("sagemaker", "describe_training_job", "ThrottlingException", "Rate exceeded")
    said = ""
    try:
        training.handler(event, context)
    except Throttled as error:
        said = str(error)
    assert "token-1" not in metrics_written() + said


@pytest.mark.usefixtures("stored")
def test_a_retried_step_adopts_the_job_it_made(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.answers("sagemaker", "describe_training_job", described.training_job(), TrainingJobName=NAME)
    training.handler(event, context)
    assert "CreateTrainingJob" not in stubbed.calls


@pytest.mark.usefixtures("stored")
def test_a_job_made_by_a_concurrent_attempt_is_adopted(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.refuses("sagemaker", "create_training_job", "ResourceInUse", "Job name must be unique")
    stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    training.handler(event, context)


@pytest.mark.usefixtures("stored")
def test_a_job_that_ended_before_anybody_waited_is_answered_at_once(
    stubbed: Any, event: Any, context: Any, described: Any, documents: Any
) -> None:
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.answers("stepfunctions", "send_task_success", {}, taskToken="token-1", output=ANY)
    stubbed.answers("dynamodb", "delete_item", {})
    training.handler(event, context)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingException", Throttled),
        ("ResourceLimitExceeded", CapacityUnavailable),
        ("AccessDeniedException", AccessDenied),
    ],
)
@pytest.mark.usefixtures("stored")
def test_a_refused_job_fails_by_a_name_the_state_machine_knows(
    stubbed: Any, event: Any, context: Any, code: str, expected: type[Exception]
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.refuses("sagemaker", "create_training_job", code, "said AWS")
    with pytest.raises(expected, match="CreateTrainingJob: said AWS"):
        training.handler(event, context)


@pytest.mark.usefixtures("stored")
def test_the_job_is_what_the_training_toolkit_expects(
    stubbed: Any, event: Any, context: Any, described: Any, environment: Any, documents: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.answers("sagemaker", "create_training_job", {"TrainingJobArn": "arn:aws:sagemaker:::x"})
    stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    training.handler(event, context)
    sent = stubbed.parameters["CreateTrainingJob"]
    assert sent["TrainingJobName"] == NAME
    assert sent["RoleArn"] == environment["EXECUTION_ROLE_ARN"]
    assert sent["AlgorithmSpecification"]["TrainingImage"] == environment["TRAINING_IMAGE_CPU"]
    assert sent["OutputDataConfig"] == {"S3OutputPath": "s3://texts/runs"}
    assert sent["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    source = sent["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    assert source["S3Uri"] == documents.prepared["prepared_uri"]
    hyperparameters = sent["HyperParameters"]
    assert hyperparameters["sagemaker_program"] == "train.py"
    assert hyperparameters["sagemaker_submit_directory"] == "s3://texts/code/ab/sourcedir.tar.gz"
    assert hyperparameters["epochs"] == "6"
    assert hyperparameters["tied"] == "true"
    assert hyperparameters["tokenizer"] == "auto"
    assert all(isinstance(value, str) for value in hyperparameters.values())


def requested(documents: Any, **run: Any) -> Any:
    """CreateTrainingJob's parameters for a run with these differences."""
    return training_job.request(
        Run.model_validate(documents.run | run),
        Prepared.model_validate(documents.prepared),
        image="image",
        role="role",
        bucket="texts",
        source="s3://texts/code/ab/sourcedir.tar.gz",
        region="eu-west-1",
    )


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
    instance_type: str, image: str, environment: dict[str, str]
) -> None:
    assert training.settings.training_image(instance_type) == environment[image]


def test_the_metric_definitions_read_what_train_prints() -> None:
    printed = (
        "vocabulary_size=33278 parameters=7345678 train_tokens=2088628\n"
        "epoch=1/6 step=200/2983 lr=20 words_per_second=1432 train_loss=5.12 train_perplexity=168.02\n"
        "epoch=1/6 seconds=123.4 valid_loss=5.42 valid_perplexity=inf\n"
        "test_loss=5.33 test_perplexity=2.083e+02\n"
    )
    found = {name: re.findall(regex, printed) for name, regex in training_job.METRICS.items()}
    assert found == {
        "train:perplexity": ["168.02"],
        "train:words_per_second": ["1432"],
        "valid:perplexity": ["inf"],
        "test:perplexity": ["2.083e+02"],
        "vocabulary:size": ["33278"],
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
    [("InProgress", "Starting"), ("InProgress", "MaxRuntimeExceeded"), ("Stopping", "Stopping")],
)
def test_a_job_under_way_is_no_answer(described: Any, status: str, secondary: str) -> None:
    assert training_job.outcome(described.training_job(status, secondary)) is None
