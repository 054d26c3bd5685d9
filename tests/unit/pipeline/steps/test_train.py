"""train: one job for each run, however often the step is retried."""

import json
from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.stub import ANY

from core.errors import ServiceUnavailable, Throttled
from steps import train
from tests.unit.pipeline.documents import ENVIRONMENT, NAME, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, StubbedAws

Trains = Callable[[], object]


@pytest.fixture
def trains(documents: Documents, lease_held: TableInMemory, context: LambdaContext) -> Trains:
    names = ("run", "lease", "prepared", "source", "champion")
    return lambda: train.handler({"token": "token-1", **documents.input(*names)}, context)


def creates(expect: ExpectedCalls) -> None:
    """Announce that there is no job yet, and that it is created."""
    expect.no_training_job()
    expect.stubbed.answers("sagemaker", "create_training_job", {"TrainingJobArn": "arn:aws:sagemaker:::x"})


def test_the_token_is_stored_before_the_job_is_created(
    expect: ExpectedCalls, trains: Trains, table: TableInMemory, documents: Documents
) -> None:
    creates(expect)
    expect.describe_training_job("InProgress")
    trains()
    # The first write renews the lease.
    expected = ["UpdateItem", "UpdateItem", "DescribeTrainingJob", "CreateTrainingJob", "DescribeTrainingJob"]
    assert expect.stubbed.calls == expected
    item = table.get(documents.trained["arn"])
    assert (item["token"], item["run"]) == ("token-1", NAME)


@pytest.mark.parametrize("outcome", ["in progress", "completed", "throttled"])
def test_the_task_token_is_neither_logged_nor_part_of_an_error(
    stubbed: StubbedAws,
    trains: Trains,
    described: Described,
    metrics_written: Callable[[], str],
    outcome: str,
) -> None:
    """With the token, anybody who may call Step Functions could end the wait."""
    if outcome == "throttled":
        stubbed.refuses("sagemaker", "describe_training_job", "ThrottlingException", "Rate exceeded")
    else:
        job = described.training_job() if outcome == "in progress" else described.completed_job()
        stubbed.answers("sagemaker", "describe_training_job", job)
    if outcome == "completed":
        stubbed.refuses("stepfunctions", "send_task_success", "TaskTimedOut", "Task Timed Out: 'arn'")
    message = ""
    try:
        trains()
    except Throttled as error:
        message = str(error)
    written = metrics_written()
    assert NAME in written
    assert "token-1" not in written + message


def test_a_retried_step_finds_its_job(expect: ExpectedCalls, trains: Trains) -> None:
    expect.describe_training_job("InProgress")
    trains()
    assert "CreateTrainingJob" not in expect.stubbed.calls


def test_a_job_that_has_already_ended_completes_the_token_at_once(
    stubbed: StubbedAws, trains: Trains, described: Described, documents: Documents, table: TableInMemory
) -> None:
    stubbed.answers("sagemaker", "describe_training_job", described.completed_job())
    stubbed.answers("stepfunctions", "send_task_success", {}, taskToken="token-1", output=ANY)
    trains()
    assert json.loads(stubbed.parameters["SendTaskSuccess"]["output"]) == documents.trained
    assert table.get(documents.trained["arn"]) == {}


def test_a_job_that_sagemaker_does_not_find_yet_is_retried(expect: ExpectedCalls, trains: Trains) -> None:
    creates(expect)
    expect.no_training_job()
    with pytest.raises(ServiceUnavailable, match="was created, but SageMaker does not find it yet"):
        trains()


def test_the_job_gets_the_runs_scripts_data_and_champion(
    expect: ExpectedCalls, trains: Trains, documents: Documents
) -> None:
    creates(expect)
    expect.describe_training_job("InProgress")
    trains()
    sent = expect.stubbed.parameters["CreateTrainingJob"]
    assert sent["TrainingJobName"] == NAME
    assert sent["RoleArn"] == ENVIRONMENT["EXECUTION_ROLE_ARN"]
    assert sent["AlgorithmSpecification"]["TrainingImage"] == ENVIRONMENT["TRAINING_IMAGE_CPU"]
    assert sent["HyperParameters"]["sagemaker_submit_directory"] == documents.source["uri"]
    assert [channel["ChannelName"] for channel in sent["InputDataConfig"]] == ["training", "champion"]
