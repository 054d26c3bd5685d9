import json
import shlex
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session

from lexline.aws.http_api import HttpApi
from lexline.aws.stack import Stack
from lexline.core.errors import UserError
from tests.unit.lexline.conftest import Stubs


class Gateway:
    """API Gateway, which returns the same response to every request, and keeps the requests."""

    status = 200
    response = b"{}"

    def __init__(self) -> None:
        self.requests: list[AWSPreparedRequest] = []

    def send(self, request: AWSPreparedRequest) -> SimpleNamespace:
        self.requests.append(request)
        return SimpleNamespace(status_code=self.status, text=self.response.decode())


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    gateway = Gateway()
    monkeypatch.setattr(URLLib3Session, "send", lambda session, request: gateway.send(request))
    return gateway


@pytest.fixture
def api(stack: Stack, stubs: Stubs, gateway: Gateway) -> HttpApi:
    """The API of a stack that has an API key."""
    request = {"apiKey": "keyid", "includeValue": True}
    stubs.apigateway.add_response("get_api_key", {"id": "keyid", "value": "s3cr3t"}, request)
    return HttpApi(stack)


def test_a_request_has_the_key_from_api_gateway(stack: Stack, api: HttpApi, gateway: Gateway) -> None:
    gateway.response = b'{"text": "a b"}'
    assert api.post("/generate", {"words": 2}) == {"text": "a b"}
    (request,) = gateway.requests
    assert (request.method, request.url) == ("POST", f"{stack.api_url}/generate")
    assert json.loads(str(request.body)) == {"words": 2}
    assert request.headers["x-api-key"] == "s3cr3t"


def test_without_a_key_requests_are_signed(stack: Stack, gateway: Gateway) -> None:
    HttpApi(replace(stack, api_key_id="")).get("/model")
    headers = gateway.requests[0].headers
    assert "/us-east-1/execute-api/aws4_request" in str(headers["authorization"])
    assert "x-api-key" not in headers


INVALID = {
    "code": "invalid_request",
    "message": "words must be a whole number from 1 to 1,000.",
    "errors": [{"field": "words", "message": "must be a whole number from 1 to 1,000"}],
}


@pytest.mark.parametrize(
    ("status", "response", "message", "hint"),
    [
        (400, json.dumps(INVALID), "words must be a whole number from 1 to 1,000.", ""),
        (404, '{"code": "no_endpoint", "message": "There is no model yet."}', "no model yet", "lexline run"),
        (502, "<html>", "HTTP status 502", ""),
        (200, "[]", "HTTP status 200", ""),
    ],
)
def test_an_error_has_the_apis_own_message_and_the_next_step(
    api: HttpApi, gateway: Gateway, status: int, response: str, message: str, hint: str
) -> None:
    gateway.status, gateway.response = status, response.encode()
    with pytest.raises(UserError) as error:
        api.get("/model")
    assert message in error.value.message
    assert hint in error.value.hint


def test_an_api_that_cannot_be_reached_is_named(stack: Stack) -> None:
    with socket.socket() as not_listening:
        not_listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{not_listening.getsockname()[1]}/v1"
        with pytest.raises(UserError, match=f"{url} does not respond"):
            HttpApi(replace(stack, api_url=url, api_key_id="")).get("/model")


def test_the_curl_command_sends_the_same_request(stack: Stack, api: HttpApi) -> None:
    words = shlex.split(api.curl("/generate", {"prompt": "it's"}))
    assert words[0] == "curl"
    assert f"{stack.api_url}/generate" in words
    assert "x-api-key: s3cr3t" in words
    assert json.loads(words[words.index("-d") + 1]) == {"prompt": "it's"}


def test_the_curl_command_of_a_signed_request_has_variables_and_no_secrets(stack: Stack) -> None:
    command = HttpApi(replace(stack, api_key_id="")).curl("/generate", {})
    assert "--aws-sigv4" in command
    assert "$AWS_SECRET_ACCESS_KEY" in command
    assert "secret" not in command
