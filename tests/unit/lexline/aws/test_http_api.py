import json
import shlex
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import boto3
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
    ("status", "response", "message", "hint", "exit_code"),
    [
        (400, json.dumps(INVALID), "words must be a whole number from 1 to 1,000.", "generate --help", 2),
        (
            404,
            '{"code": "no_endpoint", "message": "There is no model yet."}',
            "no model yet",
            "lexline run",
            1,
        ),
        (502, "<html>", "HTTP status 502", "", 1),
        (200, "[]", "HTTP status 200", "", 1),
    ],
)
def test_an_error_has_the_apis_own_message_and_the_next_step(
    api: HttpApi, gateway: Gateway, status: int, response: str, message: str, hint: str, exit_code: int
) -> None:
    gateway.status, gateway.response = status, response.encode()
    with pytest.raises(UserError) as error:
        api.get("/model")
    assert message in error.value.message
    assert hint in error.value.hint
    assert error.value.exit_code == exit_code


def test_an_api_that_cannot_be_reached_is_named(stack: Stack) -> None:
    with socket.socket() as not_listening:
        not_listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{not_listening.getsockname()[1]}/v1"
        with pytest.raises(UserError, match=f"{url} does not respond"):
            HttpApi(replace(stack, api_url=url, api_key_id="")).get("/model")


class Server(ThreadingHTTPServer):
    """A server that is silent about clients that leave."""

    def handle_error(self, *_: object) -> None:
        pass


class TextOverTls(BaseHTTPRequestHandler):
    """The API."""

    def do_GET(self) -> None:
        body = b'{"text": "a b"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class ForwardProxy(BaseHTTPRequestHandler):
    """A proxy that passes on one request and one response."""

    asked_for: list[str]

    def do_CONNECT(self) -> None:
        self.asked_for.append(self.path)
        host, port = self.path.rsplit(":", 1)
        self.send_response(200)
        self.end_headers()
        with socket.create_connection((host, int(port))) as there:
            back = threading.Thread(target=pass_on, args=(there, self.connection))
            back.start()
            pass_on(self.connection, there)
            back.join()

    def log_message(self, *_: object) -> None:
        pass


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler], certificate: Path | None = None) -> Iterator[str]:
    """Serve on a free port, over TLS if there is a certificate; give the address."""
    with Server(("127.0.0.1", 0), handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def api_over_tls(stack: Stack, certificate: Path, no_proxies: None) -> Iterator[Stack]:
    """A stack whose API has a certificate that only the file `certificate` vouches for."""
    with serving(TextOverTls, certificate) as address:
        yield replace(stack, api_url=f"https://{address}/v1", api_key_id="")


def with_configuration(stack: Stack) -> HttpApi:
    """Connect with a session that reads the configuration file of AWS."""
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    session = boto3.Session(region_name="us-east-1", **keys)
    return HttpApi(replace(stack, target=replace(stack.target, session=session)))


@pytest.mark.parametrize("where", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle", ""])
def test_the_api_is_believed_by_the_same_certificates_as_aws(
    api_over_tls: Stack, certificate: Path, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "ca_bundle":
        (tmp_path / "config").write_text(f"[default]\nca_bundle={certificate}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    elif where:
        monkeypatch.setenv(where, str(certificate))
    api = with_configuration(api_over_tls)
    if where:
        assert api.get("/model") == {"text": "a b"}
    else:
        with pytest.raises(UserError, match="CERTIFICATE_VERIFY_FAILED"):
            api.get("/model")


@pytest.mark.parametrize("exempt", ["127.0.0.1", "example.com", ""])
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_the_api_is_reached_through_the_same_proxy_as_aws(
    api_over_tls: Stack, certificate: Path, variable: str, exempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = type("Proxy", (ForwardProxy,), {"asked_for": []})
    with serving(proxy) as address:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        monkeypatch.setenv(variable, f"http://{address}")
        monkeypatch.setenv("no_proxy", exempt)
        assert with_configuration(api_over_tls).get("/model") == {"text": "a b"}
    host = api_over_tls.api_url.split("/")[2]
    assert proxy.asked_for == ([] if exempt == "127.0.0.1" else [host])


def test_the_api_of_the_local_cloud_is_reached_past_every_proxy(
    stack: Stack, no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(TextOverTls) as address:
        url = f"http://{address}"
        local = replace(stack, target=replace(stack.target, endpoint_url=url), api_url=url, api_key_id="")
        assert HttpApi(local).get("/model") == {"text": "a b"}


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
