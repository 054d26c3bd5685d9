"""training: one job per run, whatever is retried; whoever sees the job end answers the waiting state."""

import json
from typing import Any

import pytest
from botocore.stub import ANY

from core.errors import AccessDenied, CapacityUnavailable, LeaseLost, ServiceUnavailable, Throttled
from steps import train

NAME = "lexline--sotu-0123456789ab"
NOT_FOUND = ("ValidationException", "Requested resource not found.")


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    names = ("run", "lease", "prepared", "source", "champion")
    return {"token": "token-1", **{name: getattr(documents, name) for name in names}}


def waits(table: Any, documents: Any) -> dict[str, Any]:
    """Who waits for the job, by the ARN that it has or will have."""
    found: dict[str, Any] = table.get(documents.trained["arn"])
    return found


def test_the_token_is_stored_before_the_job_is_created(
    stubbed: Any, event: Any, context: Any, described: Any, lease_held: Any, documents: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.answers("sagemaker", "create_training_job", {"TrainingJobArn": "arn:aws:sagemaker:::x"})
    stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    train.handler(event, context)
    # The first is the lease's renewal.
    assert stubbed.calls == [
        "UpdateItem",
        "UpdateItem",
        "DescribeTrainingJob",
        "CreateTrainingJob",
        "DescribeTrainingJob",
    ]
    waiting = waits(lease_held, documents)
    assert (waiting["token"], waiting["run"]) == ("token-1", NAME)


def test_a_run_that_has_lost_the_lease_trains_nothing(
    stubbed: Any, event: Any, context: Any, table: Any
) -> None:
    table.put("endpoint/lexline", owner="another", generation=8, waiting={})
    with pytest.raises(LeaseLost):
        train.handler(event, context)
    assert stubbed.calls == ["UpdateItem"]


@pytest.mark.usefixtures("lease_held")
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
        train.handler(event, context)
    except Throttled as error:
        said = str(error)
    assert "token-1" not in metrics_written() + said


@pytest.mark.usefixtures("lease_held")
def test_a_retried_step_adopts_the_job_it_made(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.answers("sagemaker", "describe_training_job", described.training_job(), TrainingJobName=NAME)
    train.handler(event, context)
    assert "CreateTrainingJob" not in stubbed.calls


@pytest.mark.usefixtures("lease_held")
def test_a_job_made_by_a_concurrent_attempt_is_adopted(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.refuses("sagemaker", "create_training_job", "ResourceInUse", "Job name must be unique")
    stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    train.handler(event, context)


@pytest.mark.usefixtures("lease_held")
def test_a_job_that_ended_before_anybody_waited_is_answered_at_once(
    stubbed: Any, event: Any, context: Any, described: Any, documents: Any, table: Any
) -> None:
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.answers("stepfunctions", "send_task_success", {}, taskToken="token-1", output=ANY)
    train.handler(event, context)
    assert json.loads(stubbed.parameters["SendTaskSuccess"]["output"]) == documents.trained
    assert waits(table, documents) == {}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingException", Throttled),
        ("ResourceLimitExceeded", CapacityUnavailable),
        ("AccessDeniedException", AccessDenied),
    ],
)
@pytest.mark.usefixtures("lease_held")
def test_a_refused_job_fails_by_a_name_the_state_machine_knows(
    stubbed: Any, event: Any, context: Any, code: str, expected: type[Exception]
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.refuses("sagemaker", "create_training_job", code, "said AWS")
    with pytest.raises(expected, match="CreateTrainingJob: said AWS"):
        train.handler(event, context)


@pytest.mark.usefixtures("lease_held")
def test_a_job_that_sagemaker_does_not_show_yet_is_looked_for_again(
    stubbed: Any, event: Any, context: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.answers("sagemaker", "create_training_job", {"TrainingJobArn": "arn:aws:sagemaker:::x"})
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    with pytest.raises(ServiceUnavailable, match="was created but is not to be found yet"):
        train.handler(event, context)


@pytest.mark.usefixtures("lease_held")
def test_the_job_gets_the_runs_own_scripts_data_and_champion(
    stubbed: Any, event: Any, context: Any, described: Any, variables: Any, documents: Any
) -> None:
    stubbed.refuses("sagemaker", "describe_training_job", *NOT_FOUND)
    stubbed.answers("sagemaker", "create_training_job", {"TrainingJobArn": "arn:aws:sagemaker:::x"})
    stubbed.answers("sagemaker", "describe_training_job", described.training_job())
    train.handler(event, context)
    sent = stubbed.parameters["CreateTrainingJob"]
    assert sent["TrainingJobName"] == NAME
    assert sent["RoleArn"] == variables["EXECUTION_ROLE_ARN"]
    assert sent["AlgorithmSpecification"]["TrainingImage"] == variables["TRAINING_IMAGE_CPU"]
    assert sent["OutputDataConfig"] == {"S3OutputPath": "s3://texts/runs"}
    assert sent["HyperParameters"]["sagemaker_submit_directory"] == documents.source["uri"]
    assert [channel["ChannelName"] for channel in sent["InputDataConfig"]] == ["training", "champion"]
