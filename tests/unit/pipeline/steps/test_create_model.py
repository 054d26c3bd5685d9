"""create_model: the registered artifacts become a model that carries the run's name, made once."""

from typing import Any

import pytest

from core.errors import RequestRefused
from steps import create_model

NAME = "lexline--sotu-0123456789ab"
TRAINED_BEFORE = "lexline--sotu-aaaaaaaaaaaa"


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {"run": documents.run, "registered": documents.registered}


def test_the_model_serves_the_artifact_with_the_scripts_inside_it(
    stubbed: Any, event: Any, context: Any, documents: Any, variables: Any
) -> None:
    stubbed.answers(
        "sagemaker",
        "create_model",
        {"ModelArn": documents.model["arn"]},
        ModelName=NAME,
        ExecutionRoleArn=variables["EXECUTION_ROLE_ARN"],
        PrimaryContainer={
            "Image": variables["HOSTING_IMAGE_CPU"],
            "ModelDataUrl": documents.registered["model_artifacts"],
            "Environment": {
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                "RAY_SERVE_LOG_TO_STDERR": "1",
                "SAGEMAKER_PROGRAM": "generate.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                "SAGEMAKER_REGION": "eu-west-1",
                "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
                "LEXLINE_MODEL": NAME,
            },
        },
        Tags=[
            {"Key": "lexline:run", "Value": NAME},
            {"Key": "lexline:model", "Value": NAME},
            {"Key": "lexline:dataset", "Value": "sotu"},
            {"Key": "lexline:fingerprint", "Value": "ab" * 32},
            {"Key": "lexline:identity", "Value": "12" * 32},
            {"Key": "lexline:test-perplexity", "Value": "208.3000"},
        ],
    )
    assert create_model.handler(event, context) == documents.model


def test_a_registered_model_answers_with_the_name_of_the_run_that_trained_it(
    stubbed: Any, event: Any, context: Any, documents: Any
) -> None:
    event["run"].update(work="deploy", dataset=None, model=TRAINED_BEFORE)
    event["registered"].update(model=TRAINED_BEFORE, test_perplexity=None)
    stubbed.answers("sagemaker", "create_model", {"ModelArn": documents.model["arn"]})
    assert create_model.handler(event, context)["name"] == NAME
    asked = stubbed.parameters["CreateModel"]
    assert asked["PrimaryContainer"]["Environment"]["LEXLINE_MODEL"] == TRAINED_BEFORE
    tags = {tag["Key"]: tag["Value"] for tag in asked["Tags"]}
    assert (tags["lexline:run"], tags["lexline:model"]) == (NAME, TRAINED_BEFORE)
    assert "lexline:test-perplexity" not in tags


@pytest.mark.parametrize(
    ("endpoint_type", "instance_type", "image"),
    [
        ("real-time", "ml.m5.large", "HOSTING_IMAGE_CPU"),
        ("real-time", "ml.g5.xlarge", "HOSTING_IMAGE_GPU"),
        ("serverless", "ml.g5.xlarge", "HOSTING_IMAGE_CPU"),
    ],
)
def test_the_image_is_for_the_processors_that_the_endpoint_has(
    stubbed: Any,
    event: Any,
    context: Any,
    documents: Any,
    variables: Any,
    endpoint_type: str,
    instance_type: str,
    image: str,
) -> None:
    """A serverless endpoint has no GPU, whatever instance type is left over in the deployment's settings."""
    event["run"]["hosting"].update(endpoint_type=endpoint_type, instance_type=instance_type)
    stubbed.answers("sagemaker", "create_model", {"ModelArn": documents.model["arn"]})
    assert create_model.handler(event, context)["image"] == variables[image]


def test_a_model_of_an_earlier_attempt_is_adopted(
    stubbed: Any, event: Any, context: Any, documents: Any
) -> None:
    message = f'Cannot create already existing model "{documents.model["arn"]}".'
    stubbed.refuses("sagemaker", "create_model", "ValidationException", message)
    assert create_model.handler(event, context) == documents.model


def test_another_refusal_is_passed_on(stubbed: Any, event: Any, context: Any) -> None:
    stubbed.refuses("sagemaker", "create_model", "ValidationException", "Could not find model data")
    with pytest.raises(RequestRefused, match="Could not find model data"):
        create_model.handler(event, context)
