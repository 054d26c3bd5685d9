"""InvokeEndpoint: what reaches the model, what comes back, and how each refusal looks to a client."""

from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.sagemaker.processes.instance import InvocationResult
from tests.unit.localcloud.conftest import Cloud, variant_request

INVOKE = {"EndpointName": "lexline", "Body": b"{}"}


def failure(call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return dict(caught.value.response)


def test_the_answer_has_the_models_body_its_content_type_and_the_variant(cloud: Cloud) -> None:
    cloud.endpoint("Lexline", "first")
    types = {"ContentType": "application/json", "Accept": "application/json"}
    response = cloud.runtime.invoke_endpoint(EndpointName="lexline", Body=b'{"seed": 1}', **types)
    assert response["Body"].read() == b'first|{"seed": 1}'
    assert response["ContentType"] == "application/json"
    assert response["InvokedProductionVariant"] == "AllTraffic"


def test_an_unknown_endpoint_is_a_validation_error_of_the_runtime(cloud: Cloud) -> None:
    response = failure(cloud.runtime.invoke_endpoint, EndpointName="nobody", Body=b"{}")
    assert response["Error"]["Code"] == "ValidationError"
    assert response["Error"]["Message"] == "Endpoint nobody of account 000000000000 not found."
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("status", ["Creating", "Failed"])
def test_an_endpoint_that_does_not_serve_is_not_found_either(cloud: Cloud, status: str) -> None:
    cloud.config("first")
    if status == "Creating":
        cloud.fleets.script.ready.clear()
    else:
        cloud.fleets.script.failure = "no"
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="first")
    cloud.await_endpoint(status)
    response = failure(cloud.runtime.invoke_endpoint, **INVOKE)
    assert response["Error"]["Message"] == "Endpoint lexline of account 000000000000 not found."


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (415, "client"), (500, "server")])
def test_a_models_error_is_424_with_what_the_model_said(cloud: Cloud, status: int, side: str) -> None:
    cloud.endpoint("lexline", "first")
    cloud.fleets.script.result = InvocationResult(status, "application/json", b'{"error": "words"}')
    response = failure(cloud.runtime.invoke_endpoint, **INVOKE)
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["Error"]["Message"] == (
        f'Received {side} error ({status}) from primary with message "{{"error": "words"}}". See '
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:"
        "group=/aws/sagemaker/Endpoints/lexline in account 000000000000 for more information."
    )
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == '{"error": "words"}'
    assert response["LogStreamArn"].endswith(":log-group:/aws/sagemaker/Endpoints/lexline")


def test_a_model_that_does_not_answer_is_a_model_error_too(cloud: Cloud) -> None:
    cloud.endpoint("lexline", "first")
    cloud.fleets.script.result = InvocationResult(0, "text/plain", b"")
    response = failure(cloud.runtime.invoke_endpoint, **INVOKE)
    assert response["Error"]["Code"] == "ModelError"
    assert response["Error"]["Message"].startswith(
        "Received server error (0) from primary and could not load the entire response body."
    )


def test_an_endpoint_without_a_healthy_instance_is_unavailable(cloud: Cloud) -> None:
    cloud.endpoint("lexline", "first")
    cloud.fleets.script.unhealthy = True
    response = failure(cloud.runtime.invoke_endpoint, **INVOKE)
    assert response["Error"]["Code"] == "ServiceUnavailable"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_a_body_may_have_six_mebibytes_and_no_more(cloud: Cloud) -> None:
    cloud.endpoint("lexline", "first")
    most = b"a" * 6_291_456
    response = cloud.runtime.invoke_endpoint(EndpointName="lexline", Body=most)
    assert len(response["Body"].read()) == len(most) + len("first|")
    response = failure(cloud.runtime.invoke_endpoint, EndpointName="lexline", Body=most + b"a")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert response["Error"]["Code"] == "413"
    assert response["Error"]["Message"] == "HTTP content length exceeded 6291456 bytes."


@pytest.fixture
def weighted(cloud: Cloud) -> Any:
    """An endpoint with variants of weights 3, 1 and 0."""
    variants = []
    for name, weight in (("blue", 3.0), ("green", 1.0), ("dark", 0.0)):
        cloud.model(name)
        variants.append(variant_request(name, VariantName=name, InitialVariantWeight=weight))
    cloud.sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=variants)
    cloud.sagemaker.create_endpoint(EndpointName="lexline", EndpointConfigName="c")
    cloud.await_endpoint("InService")
    return cloud


def test_requests_go_to_variants_by_their_weights(weighted: Cloud) -> None:
    invoke = weighted.runtime.invoke_endpoint
    seen = Counter(invoke(EndpointName="lexline", Body=b"")["InvokedProductionVariant"] for _ in range(200))
    # 150 of 200 are expected; below 110 the odds are under one in ten million.
    assert 110 < seen["blue"] < 190
    assert seen["blue"] + seen["green"] == 200


def test_a_variant_can_be_asked_for_by_name_whatever_its_weight(weighted: Cloud) -> None:
    response = weighted.runtime.invoke_endpoint(EndpointName="lexline", Body=b"", TargetVariant="dark")
    assert (response["InvokedProductionVariant"], response["Body"].read()) == ("dark", b"dark|")
    response = failure(weighted.runtime.invoke_endpoint, **INVOKE, TargetVariant="nobody")
    assert response["Error"]["Code"] == "ValidationError"
    assert "nobody" in response["Error"]["Message"]


def test_a_multi_model_request_is_said_not_to_be_here(cloud: Cloud) -> None:
    cloud.endpoint("lexline", "first")
    response = failure(cloud.runtime.invoke_endpoint, **INVOKE, TargetModel="a.tar.gz")
    assert response["Error"]["Code"] == "ValidationError"
    assert "Multi-model endpoints are not available" in response["Error"]["Message"]
