"""A run served as the template does by default: in AWS's Ray image."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Answer
from tests.e2e.test_kills import started_by_upload
from tests.stack import DeployedStack

pytestmark = pytest.mark.usefixtures("only_ray")

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1"


@pytest.fixture
def ray_image(stack: DeployedStack) -> Iterator[None]:
    """The deployment as HostingImage=ray makes it; to deploy it again would take half a minute."""
    functions, name = stack.cloud.client("lambda"), stack.resources()["CreateModelFunction"]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]
    changed = {"Variables": {**before["Variables"], "HOSTING_IMAGE_CPU": IMAGE}}
    functions.update_function_configuration(FunctionName=name, Environment=changed)
    yield
    functions.update_function_configuration(FunctionName=name, Environment=before)


def test_an_uploads_model_is_served_by_ray(
    stack: DeployedStack, ray_image: None, api: Callable[..., Answer], corpus: bytes
) -> None:
    ended = stack.wait(started_by_upload(stack, "rays", corpus))
    assert ended["status"] == "SUCCEEDED", ended.get("cause")

    endpoint = stack.outputs["EndpointName"]
    described: dict[str, Any] = stack.cloud.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    (variant,) = described["ProductionVariants"]
    assert [image["SpecifiedImage"] for image in variant["DeployedImages"]] == [IMAGE]

    request = {"seed": 7, "words": 30, "prompt": "My fellow Americans"}
    status, answer = api("POST", "/generate", request)
    assert (status, answer["words"], answer["model"]) == (200, 30, described["EndpointConfigName"])
    assert api("POST", "/generate", request) == (200, answer)
