"""A run whose model AWS's Ray image serves, which is the template's default."""

from typing import Any

import pytest

from tests.stack import DeployedStack

pytestmark = pytest.mark.usefixtures("only_ray")

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"


def test_ray_serves_the_model_of_an_upload(stack: DeployedStack, corpus: bytes) -> None:
    with stack.environment("CreateModelFunction", HOSTING_IMAGE=IMAGE):
        stack.report(stack.start_by_upload("rays", "corpus.txt", corpus))

    endpoint = stack.outputs["EndpointName"]
    described: dict[str, Any] = stack.cloud.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    (variant,) = described["ProductionVariants"]
    assert [image["SpecifiedImage"] for image in variant["DeployedImages"]] == [IMAGE]

    request = {"seed": 7, "words": 30, "prompt": "My fellow Americans"}
    response = stack.call_api("POST", "/generate", request)
    assert (response.status, response.body["words"]) == (200, 30)
    assert response.body["model"] == described["EndpointConfigName"]
    assert stack.call_api("POST", "/generate", request) == response
