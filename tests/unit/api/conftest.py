"""The HTTP API in front of a SageMaker that returns what a test says."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from chalice.test import Client, HTTPResponse

import app as api
from chalicelib.endpoint import Endpoint
from tests.unit.api.model_endpoint import ModelRuntime, ServedApi
from tests.unit.model_scripts.conftest import one_thread as one_thread
from tests.unit.model_scripts.conftest import untrained as untrained

ORIGINS = ("https://a.example", "http://localhost:3000")
"""The origins that the stack allows."""


class Api:
    """Chalice's test client of the API, and stubbers of its SageMaker clients.

    A stubber checks every request and response against AWS's model.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.http = Client(api.app, project_dir=str(Path(api.__file__).parent)).http
        session = boto3.Session("test", "test", region_name="us-east-1")
        runtime, sagemaker = session.client("sagemaker-runtime"), session.client("sagemaker")
        self.runtime, self.sagemaker = Stubber(runtime), Stubber(sagemaker)
        self.endpoint = Endpoint("lexline", runtime, runtime, sagemaker)
        monkeypatch.setattr(api, "endpoint", lambda: self.endpoint)
        monkeypatch.setenv("WAIT_SECONDS", "0")
        monkeypatch.setenv("ALLOWED_ORIGINS", ",".join(ORIGINS))

    def post(self, body: Any, content_type: str = "application/json") -> HTTPResponse:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post("/generate", headers={"Content-Type": content_type}, body=content)

    def expect_invocation(self, response: Any, request: dict[str, Any] | None = None) -> None:
        """Let the endpoint return this for the request, or for any request."""
        content = response if isinstance(response, bytes) else json.dumps(response).encode()
        self.runtime.add_response(
            "invoke_endpoint",
            {"Body": StreamingBody(io.BytesIO(content), len(content)), "ContentType": "application/json"},
            {
                "EndpointName": "lexline",
                "ContentType": "application/json",
                "Accept": "application/json",
                "Body": json.dumps(request) if request else ANY,
            },
        )


@pytest.fixture
def stubbed_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    stubbed = Api(monkeypatch)
    with stubbed.runtime, stubbed.sagemaker:
        yield stubbed
        stubbed.runtime.assert_no_pending_responses()
        stubbed.sagemaker.assert_no_pending_responses()


@pytest.fixture(scope="session")
def model_runtime(untrained: Path) -> ModelRuntime:
    """The endpoint of a model with random weights."""
    return ModelRuntime(untrained)


@pytest.fixture
def served_api(model_runtime: ModelRuntime, monkeypatch: pytest.MonkeyPatch) -> ServedApi:
    """The API in front of that model."""
    model_runtime.bodies.clear()
    model_runtime.unknown_fields.clear()
    served = ServedApi(model_runtime)
    monkeypatch.setattr(api, "endpoint", lambda: served.endpoint)
    monkeypatch.setenv("ALLOWED_ORIGINS", "")
    monkeypatch.setenv("WAIT_SECONDS", "0")
    return served
