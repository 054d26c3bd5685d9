"""create_model: the registered artifact becomes one SageMaker model with the run's name."""

from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from core.errors import RequestRefused
from steps import create_model
from tests.unit.pipeline.documents import ENVIRONMENT, FORMER, NAME, STACK_ID, Document, Documents
from tests.unit.pipeline.stubbed_aws import StubbedAws, tag_list

Creates = Callable[[], Document]


@pytest.fixture
def creates(documents: Documents, context: LambdaContext) -> Creates:
    return lambda: create_model.handler(documents.input("run", "registered"), context)


def test_the_model_serves_the_artifact_with_the_scripts_in_it(
    stubbed: StubbedAws, creates: Creates, documents: Documents
) -> None:
    stubbed.answers(
        "sagemaker",
        "create_model",
        {"ModelArn": documents.model["arn"]},
        ModelName=NAME,
        ExecutionRoleArn=ENVIRONMENT["EXECUTION_ROLE_ARN"],
        PrimaryContainer={
            "Image": ENVIRONMENT["HOSTING_IMAGE"],
            "ModelDataUrl": documents.registered["model_artifacts"],
            "Environment": {
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                "RAY_SERVE_LOG_TO_STDERR": "1",
                "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
                "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
                "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
                "RAY_USAGE_STATS_ENABLED": "0",
                "SAGEMAKER_PROGRAM": "generate.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                "SAGEMAKER_REGION": "eu-west-1",
                "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
                "LEXLINE_MODEL": NAME,
            },
        },
        Tags=tag_list(
            stack=STACK_ID,
            run=NAME,
            model=NAME,
            dataset="sotu",
            fingerprint="ab" * 32,
            identity="12" * 32,
            test_perplexity="208.3000",
            test_unknown_share="0.0210",
        ),
    )
    assert creates() == documents.model


def test_a_registered_model_responds_with_the_name_of_the_run_that_trained_it(
    stubbed: StubbedAws, creates: Creates, documents: Documents
) -> None:
    documents.run.update(work="deploy", dataset=None, model=FORMER)
    documents.registered.update(model=FORMER, test_perplexity=None, test_unknown_share=None)
    stubbed.answers("sagemaker", "create_model", {"ModelArn": documents.model["arn"]})
    assert creates()["name"] == NAME
    sent = stubbed.parameters["CreateModel"]
    assert sent["PrimaryContainer"]["Environment"]["LEXLINE_MODEL"] == FORMER
    tags = {tag["Key"]: tag["Value"] for tag in sent["Tags"]}
    assert (tags["lexline:run"], tags["lexline:model"]) == (NAME, FORMER)
    assert "lexline:test-perplexity" not in tags


def test_a_serverless_endpoint_gets_its_own_image_and_one_worker(
    stubbed: StubbedAws, creates: Creates, documents: Documents
) -> None:
    documents.run["hosting"]["endpoint_type"] = "serverless"
    stubbed.answers("sagemaker", "create_model", {"ModelArn": documents.model["arn"]})
    assert creates()["image"] == ENVIRONMENT["SERVERLESS_IMAGE"]
    container = stubbed.parameters["CreateModel"]["PrimaryContainer"]
    assert container["Image"] == ENVIRONMENT["SERVERLESS_IMAGE"]
    assert container["Environment"]["SAGEMAKER_MODEL_SERVER_WORKERS"] == "1"


def test_other_errors_are_raised(stubbed: StubbedAws, creates: Creates) -> None:
    stubbed.refuses("sagemaker", "create_model", "ValidationException", "Could not find model data")
    with pytest.raises(RequestRefused, match="Could not find model data"):
        creates()
