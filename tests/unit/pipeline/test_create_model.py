"""create_model: the trained artifacts become a model that carries the run's name, made once."""

from typing import Any

import create_model
import pytest
from errors import RequestRefused

NAME = "lexline-sotu-0123456789ab"


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {"run": documents.run, "trained": documents.trained, "evaluated": documents.evaluated}


def test_the_model_serves_the_artifact_with_the_scripts_inside_it(
    stubbed: Any, event: Any, context: Any, documents: Any, environment: Any
) -> None:
    stubbed.answers(
        "sagemaker",
        "create_model",
        {"ModelArn": documents.model["arn"]},
        ModelName=NAME,
        ExecutionRoleArn=environment["EXECUTION_ROLE_ARN"],
        PrimaryContainer={
            "Image": environment["HOSTING_IMAGE_CPU"],
            "ModelDataUrl": documents.trained["model_artifacts"],
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
            {"Key": "lexline:dataset", "Value": "sotu"},
            {"Key": "lexline:test-perplexity", "Value": "208.3000"},
        ],
    )
    assert create_model.handler(event, context) == documents.model


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
