"""The routes of the HTTP API, called through Chalice's own test client."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import ANY
from chalice.test import Client, HTTPResponse

import app as api
from tests.unit.api.conftest import Cloud

ACCOUNT_ARN = "arn:aws:sagemaker:us-east-1:123456789012"
RUN = "lexline--sotu-0123456789ab"
MADE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def post(client: Client, body: Any) -> HTTPResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.http.post("/generate", headers={"Content-Type": "application/json"}, body=content)


def invoked(cloud: Cloud, sent: dict[str, Any], answer: Any) -> None:
    """Expect this JSON at the endpoint, and return that."""
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    cloud.runtime.add_response(
        "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(content), len(content)), "ContentType": "application/json"},
        {
            "EndpointName": "lexline",
            "ContentType": "application/json",
            "Accept": "application/json",
            "Body": json.dumps(sent) if sent else ANY,
        },
    )


def described(status: str) -> dict[str, Any]:
    return {
        "EndpointName": "lexline",
        "EndpointArn": f"{ACCOUNT_ARN}:endpoint/lexline",
        "EndpointConfigName": RUN,
        "EndpointStatus": status,
        "CreationTime": MADE,
        "LastModifiedTime": MADE,
    }


def missing_endpoint(cloud: Cloud) -> None:
    cloud.sagemaker.add_client_error(
        "describe_endpoint",
        "ValidationException",
        f'Could not find endpoint "{ACCOUNT_ARN}:endpoint/lexline".',
        400,
    )


def test_the_routes_are_these_and_no_others() -> None:
    assert {(path, method) for path, methods in api.app.routes.items() for method in methods} == {
        ("/generate", "POST"),
        ("/model", "GET"),
        ("/health", "GET"),
    }


def test_generate_returns_text_words_seed_and_model(client: Client, cloud: Cloud) -> None:
    invoked(
        cloud,
        {"seed": 111, "temperature": 2.0, "words": 3, "prompt": "My fellow"},
        {"text": "citizens of the", "words": 3, "seed": 111, "temperature": 2.0, "model": RUN},
    )
    response = post(client, {"seed": 111, "temperature": 2.0, "words": 3, "prompt": "My fellow"})
    assert response.status_code == 200
    assert response.json_body == {"text": "citizens of the", "words": 3, "seed": 111, "model": RUN}


def test_top_k_and_top_p_are_passed_on(client: Client, cloud: Cloud) -> None:
    asked = {"seed": 1, "temperature": 1.0, "words": 2, "top_k": 40, "top_p": 0.9}
    invoked(cloud, asked, {"text": "a b", "words": 2, "seed": 1, "model": RUN})
    assert post(client, {"seed": 1, "words": 2, "top_k": 40, "top_p": 0.9}).status_code == 200


def test_an_empty_prompt_is_not_sent_to_the_model(client: Client, cloud: Cloud) -> None:
    invoked(
        cloud,
        {"seed": 1, "temperature": 1.0, "words": 2},
        {"text": "a b", "words": 2, "seed": 1, "model": RUN},
    )
    assert post(client, {"seed": 1, "words": 2, "prompt": ""}).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_every_field_has_a_default(client: Client, cloud: Cloud, body: bytes) -> None:
    invoked(cloud, {}, {"text": "x", "words": 100, "seed": 5, "model": RUN})
    assert post(client, body).status_code == 200


def test_health_does_not_call_sagemaker(client: Client, cloud: Cloud) -> None:
    response = client.http.get("/health")
    assert (response.status_code, response.json_body) == (200, {"status": "ok"})


def test_model_describes_the_model_that_serves(client: Client, cloud: Cloud) -> None:
    cloud.sagemaker.add_response("describe_endpoint", described("Updating"), {"EndpointName": "lexline"})
    arn = f"{ACCOUNT_ARN}:endpoint-config/{RUN}"
    cloud.sagemaker.add_response(
        "describe_endpoint_config",
        {
            "EndpointConfigName": RUN,
            "EndpointConfigArn": arn,
            "ProductionVariants": [{"VariantName": "AllTraffic", "ModelName": RUN}],
            "CreationTime": MADE,
        },
        {"EndpointConfigName": RUN},
    )
    cloud.sagemaker.add_response(
        "list_tags",
        {
            "Tags": [
                {"Key": "lexline:run", "Value": RUN},
                {"Key": "lexline:dataset", "Value": "sotu"},
                {"Key": "lexline:test-perplexity", "Value": "208.3"},
            ]
        },
        {"ResourceArn": arn},
    )
    response = client.http.get("/model")
    assert response.json_body == {
        "endpoint": "lexline",
        "status": "Updating",
        "model": RUN,
        "dataset": "sotu",
        "perplexity": 208.3,
        "since": "2026-11-23T12:00:00+00:00",
    }


def test_model_is_404_before_the_first_deployment(client: Client, cloud: Cloud) -> None:
    missing_endpoint(cloud)
    response = client.http.get("/model")
    assert (response.status_code, response.json_body["code"]) == (404, "no_endpoint")


def test_every_invalid_field_is_named(client: Client, cloud: Cloud) -> None:
    response = post(client, {"seed": True, "words": 0, "temperature": "hot", "prompt": 7, "top_q": 3})
    assert response.status_code == 400
    assert response.json_body["code"] == "invalid_request"
    assert {error["field"] for error in response.json_body["errors"]} == {
        "seed",
        "words",
        "temperature",
        "prompt",
        "top_q",
    }
    assert all(error["message"] for error in response.json_body["errors"])


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"', b"\xff", b"[" * 60_000])
def test_a_body_that_is_not_a_json_object_is_400(client: Client, cloud: Cloud, body: bytes) -> None:
    response = post(client, body)
    assert (response.status_code, response.json_body["code"]) == (400, "invalid_request")


def test_a_body_too_large_is_413(client: Client, cloud: Cloud) -> None:
    response = post(client, {"prompt": "x" * 140_000})
    assert (response.status_code, response.json_body["code"]) == (413, "body_too_large")


def test_another_content_type_is_415(client: Client, cloud: Cloud) -> None:
    response = client.http.post(
        "/generate", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b"{}"
    )
    assert (response.status_code, response.json_body["code"]) == (415, "unsupported_media_type")


def test_another_method_is_405_and_says_which_are_allowed(client: Client, cloud: Cloud) -> None:
    response = client.http.get("/generate")
    assert (response.status_code, response.json_body["code"]) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"


def test_a_path_that_only_the_gateway_has_is_404() -> None:
    event = {
        "requestContext": {"resourcePath": "/{proxy+}", "httpMethod": "GET"},
        "headers": {},
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": "nowhere"},
        "stageVariables": None,
        "body": None,
    }
    response = api.app(event, None)
    assert response["statusCode"] == 404
    assert json.loads(response["body"])["code"] == "not_found"


@pytest.mark.parametrize(
    ("aws_code", "http_status", "status", "code"),
    [
        ("ModelError", 424, 424, "model_failed"),
        ("ThrottlingException", 400, 429, "throttled"),
        ("ModelNotReadyException", 429, 503, "deploying"),
        ("ServiceUnavailable", 503, 502, "model_unreachable"),
        ("InternalFailure", 500, 502, "model_unreachable"),
        ("AccessDeniedException", 403, 500, "not_permitted"),
    ],
)
def test_sagemaker_errors_are_translated_without_their_internals(
    client: Client, cloud: Cloud, aws_code: str, http_status: int, status: int, code: str
) -> None:
    secret = f"{ACCOUNT_ARN}:endpoint/lexline Traceback (most recent call last)"
    cloud.runtime.add_client_error("invoke_endpoint", aws_code, secret, http_status)
    response = post(client, {})
    assert (response.status_code, response.json_body["code"]) == (status, code)
    assert set(response.json_body) == {"code", "message"}
    assert "arn:" not in response.body.decode()
    assert "Traceback" not in response.body.decode()


def test_a_request_that_the_model_refuses_is_400_with_its_message(client: Client, cloud: Cloud) -> None:
    sentence = "prompt has no word that is in the model's vocabulary."
    cloud.runtime.add_client_error(
        "invoke_endpoint",
        "ModelError",
        f"Received client error (400) from model. See {ACCOUNT_ARN}",
        424,
        modeled_fields={"OriginalStatusCode": 400, "OriginalMessage": f"{sentence}\nTraceback (most recent"},
    )
    response = post(client, {"prompt": "Zyxgrv"})
    assert response.status_code == 400
    assert response.json_body == {"code": "invalid_request", "message": sentence}


def test_a_denied_action_is_named(client: Client, cloud: Cloud) -> None:
    cloud.runtime.add_client_error("invoke_endpoint", "AccessDeniedException", ACCOUNT_ARN, 403)
    assert "sagemaker:InvokeEndpoint" in post(client, {}).json_body["message"]


def refused(cloud: Cloud) -> None:
    """Refuse InvokeEndpoint as SageMaker does for an endpoint that does not exist or does not serve yet."""
    cloud.runtime.add_client_error(
        "invoke_endpoint", "ValidationError", f"Endpoint lexline of account {ACCOUNT_ARN} not found.", 400
    )


def test_no_endpoint_yet_is_404(client: Client, cloud: Cloud) -> None:
    refused(cloud)
    missing_endpoint(cloud)
    response = post(client, {})
    assert (response.status_code, response.json_body["code"]) == (404, "no_endpoint")


def test_the_first_deployment_is_503_with_retry_after(client: Client, cloud: Cloud) -> None:
    refused(cloud)
    cloud.sagemaker.add_response("describe_endpoint", described("Creating"))
    response = post(client, {})
    assert (response.status_code, response.json_body["code"]) == (503, "deploying")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("endpoint_status", "status"), [("Failed", 502), ("Deleting", 404), ("InService", 502)]
)
def test_an_endpoint_that_cannot_serve_says_why(
    client: Client, cloud: Cloud, endpoint_status: str, status: int
) -> None:
    refused(cloud)
    cloud.sagemaker.add_response("describe_endpoint", described(endpoint_status))
    assert post(client, {}).status_code == status


@pytest.mark.parametrize("failure", [ReadTimeoutError, ConnectTimeoutError])
def test_an_endpoint_without_a_response_is_502(
    client: Client, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    def no_answer(**_: Any) -> None:
        raise failure(endpoint_url="https://runtime.sagemaker", error="timed out")  # type: ignore[call-arg]

    monkeypatch.setattr(api.endpoint().runtime, "invoke_endpoint", no_answer)
    response = post(client, {})
    assert (response.status_code, response.json_body["code"]) == (502, "model_unreachable")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"text": "x"}', b"null"])
def test_a_response_that_is_not_the_models_is_502(client: Client, cloud: Cloud, answer: bytes) -> None:
    invoked(cloud, {}, answer)
    response = post(client, {})
    assert (response.status_code, response.json_body["code"]) == (502, "model_unreachable")


def test_a_bug_is_500_in_the_same_format(
    client: Client, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "parse_generate", lambda body: 1 / 0)
    response = post(client, {})
    assert response.status_code == 500
    assert response.json_body == {
        "code": "internal_server_error",
        "message": "Something went wrong inside the API.",
    }


def test_every_log_line_has_the_request_id_of_the_caller(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(api.logger.registered_handler, "stream", log)
    missing_endpoint(cloud)
    request = "b3c5a0f2-6b8e-4a59-a2ad-d8f20c2c6e34"
    event = {
        "requestContext": {
            "requestId": request,
            "httpMethod": "GET",
            "resourcePath": "/model",
            "path": "/model",
        },
        "headers": {},
        "pathParameters": {},
        "stageVariables": {},
        "multiValueQueryStringParameters": None,
        "body": None,
    }
    assert api.app(event, None)["statusCode"] == 404
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["correlation_id"] for line in lines] == [request]
