"""teardown: endpoint, endpoint config and model go, in that order, and only this run's."""

from typing import Any

import pytest
import teardown
from errors import EndpointBusy

NAME = "lexline-sotu-0123456789ab"
OTHER = "lexline-sotu-ffffffffffff"
NO_CONFIG = ("ValidationException", "Could not find endpoint configuration")
NO_ENDPOINT = ("ValidationException", "Could not find endpoint")
NO_MODEL = ("ValidationException", "Could not find model")


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {"run": documents.run}


def deletes_config_and_model(stubbed: Any) -> None:
    stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=NAME)
    stubbed.answers("sagemaker", "delete_model", {}, ModelName=NAME)


def test_the_endpoint_goes_first_and_is_waited_for(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.answers("sagemaker", "describe_endpoint_config", described.config(), EndpointConfigName=NAME)
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint(), EndpointName="lexline")
    stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy):
        teardown.handler(event, context)


@pytest.mark.parametrize("status", ["Deleting", "Updating", "Creating"])
def test_nothing_is_deleted_while_the_endpoint_changes(
    stubbed: Any, event: Any, context: Any, described: Any, status: str
) -> None:
    stubbed.answers("sagemaker", "describe_endpoint_config", described.config())
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint(status))
    with pytest.raises(EndpointBusy, match=status):
        teardown.handler(event, context)


def test_config_and_model_go_when_the_endpoint_is_gone(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.answers("sagemaker", "describe_endpoint_config", described.config())
    stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)
    deletes_config_and_model(stubbed)
    assert teardown.handler(event, context) == {
        "removed": ["endpoint/lexline", f"endpoint-config/{NAME}", f"model/{NAME}"]
    }


def test_an_endpoint_that_serves_another_run_stays(
    stubbed: Any, event: Any, context: Any, described: Any
) -> None:
    stubbed.answers("sagemaker", "describe_endpoint_config", described.config())
    stubbed.answers("sagemaker", "describe_endpoint", described.endpoint(config=OTHER))
    deletes_config_and_model(stubbed)
    assert teardown.handler(event, context) == {"removed": [f"endpoint-config/{NAME}", f"model/{NAME}"]}


def test_a_second_tear_down_finds_nothing_and_says_so(stubbed: Any, event: Any, context: Any) -> None:
    stubbed.refuses("sagemaker", "describe_endpoint_config", *NO_CONFIG)
    stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
    stubbed.refuses("sagemaker", "delete_model", *NO_MODEL)
    assert teardown.handler(event, context) == {"removed": []}
