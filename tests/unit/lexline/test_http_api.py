import json
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from botocore.stub import Stubber

from lexline.errors import UserError
from lexline.http_api import HttpApi
from lexline.target import Stack, Target

Stub = Callable[[Any], Stubber]


@dataclass
class Gateway:
    """A small HTTP server that answers every request alike and keeps what it was sent."""

    url: str = ""
    status: int = 200
    answer: bytes = b"{}"
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    state = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append((self.command, self.path, headers, body))
            self.send_response(state.status)
            self.end_headers()
            self.wfile.write(state.answer)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def with_key(target: Target, stub: Stub) -> None:
    stub(target.apigateway).add_response(
        "get_api_key", {"id": "keyid", "value": "s3cr3t"}, {"apiKey": "keyid", "includeValue": True}
    )


def test_a_post_carries_the_key_that_api_gateway_holds(
    target: Target, stack: Stack, stub: Stub, gateway: Gateway
) -> None:
    with_key(target, stub)
    gateway.answer = b'{"text": "a b"}'
    answer = HttpApi(target, replace(stack, api_url=gateway.url)).post("/generate", {"words": 2})
    assert answer == {"text": "a b"}
    (method, path, headers, body) = gateway.requests[0]
    assert (method, path, json.loads(body)) == ("POST", "/v1/generate", {"words": 2})
    assert headers["x-api-key"] == "s3cr3t"


def test_without_a_key_requests_are_signed(target: Target, stack: Stack, gateway: Gateway) -> None:
    signed = replace(stack, api_url=gateway.url, api_key_id="", api_authorization="AWS_IAM")
    HttpApi(target, signed).get("/model")
    headers = gateway.requests[0][2]
    assert "/us-east-1/execute-api/aws4_request" in headers["authorization"]
    assert "x-api-key" not in headers


def test_the_apis_refusal_is_told_in_its_words_with_every_field(
    target: Target, stack: Stack, stub: Stub, gateway: Gateway
) -> None:
    with_key(target, stub)
    gateway.status = 400
    gateway.answer = json.dumps(
        {
            "code": "invalid_request",
            "message": "The request cannot be used because of: words.",
            "errors": [{"field": "words", "message": "must be an integer from 1 to 1000"}],
        }
    ).encode()
    with pytest.raises(UserError) as refusal:
        HttpApi(target, replace(stack, api_url=gateway.url)).post("/generate", {"words": 0})
    assert "because of: words." in refusal.value.message
    assert "words must be an integer from 1 to 1000" in refusal.value.message


def test_no_endpoint_yet_comes_with_the_next_step(
    target: Target, stack: Stack, stub: Stub, gateway: Gateway
) -> None:
    with_key(target, stub)
    gateway.status, gateway.answer = 404, b'{"code": "no_endpoint", "message": "There is no model yet."}'
    with pytest.raises(UserError) as refusal:
        HttpApi(target, replace(stack, api_url=gateway.url)).get("/model")
    assert "lexline run" in refusal.value.hint


def test_an_answer_that_is_not_json_is_an_error_with_its_status(
    target: Target, stack: Stack, stub: Stub, gateway: Gateway
) -> None:
    with_key(target, stub)
    gateway.status, gateway.answer = 502, b"<html>"
    with pytest.raises(UserError, match="502"):
        HttpApi(target, replace(stack, api_url=gateway.url)).get("/model")


def test_curls_command_line_sends_the_same_request(target: Target, stack: Stack, stub: Stub) -> None:
    with_key(target, stub)
    words = shlex.split(HttpApi(target, stack).curl("/generate", {"prompt": "it's"}))
    assert words[0] == "curl"
    assert f"{stack.api_url}/generate" in words
    assert "x-api-key: s3cr3t" in words
    assert json.loads(words[words.index("-d") + 1]) == {"prompt": "it's"}


def test_curls_command_line_names_variables_and_no_secrets_when_requests_are_signed(
    target: Target, stack: Stack
) -> None:
    line = HttpApi(target, replace(stack, api_key_id="")).curl("/generate", {})
    assert "--aws-sigv4" in line
    assert "$AWS_SECRET_ACCESS_KEY" in line
    assert "secret" not in line
