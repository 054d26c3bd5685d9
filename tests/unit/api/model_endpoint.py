"""The API in front of a model in this process, which answers as it does in AWS's PyTorch image."""

import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from chalice.test import Client, HTTPResponse

import app as api
import generate
from chalicelib.endpoint import Endpoint

MODEL = "lexline-sotu-0123456789ab"


class ModelRuntime:
    """The client `sagemaker-runtime` of an account whose endpoint serves one artifact.

    Attributes:
        bodies: What was sent to the model.
        unknown_fields: Fields that the model refuses, as a model of an earlier version does.
    """

    def __init__(self, artifact: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LEXLINE_MODEL", MODEL)
            self.served = generate.model_fn(str(artifact))
        self._one_at_a_time = threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.unknown_fields: set[str] = set()

    def invoke_endpoint(self, **request: str) -> dict[str, Any]:
        body = request["Body"]
        with self._one_at_a_time:
            self.bodies.append(json.loads(body))
            if unknown := self.unknown_fields & self.bodies[-1].keys():
                raise refusal(f"{min(unknown)} is not a field of this request; there are seed, words.")
            try:
                response = generate.predict_fn(generate.input_fn(body, request["ContentType"]), self.served)
            except Exception as error:
                raise refusal(getattr(error, "message", str(error))) from error
        content = generate.output_fn(response, "application/json")[0].encode()
        return {"Body": StreamingBody(io.BytesIO(content), len(content))}


def refusal(message: str) -> ClientError:
    """Return SageMaker's error for a response of the model with status 400."""
    response: Any = {"Error": {"Code": "ModelError"}, "OriginalStatusCode": 400, "OriginalMessage": message}
    return ClientError(response, "InvokeEndpoint")


class Description:
    """The client `sagemaker` of an account with one endpoint."""

    def describe_endpoint(self, **_: str) -> dict[str, Any]:
        return {"EndpointStatus": "InService", "EndpointConfigName": "config"}

    def describe_endpoint_config(self, **_: str) -> dict[str, Any]:
        return {"EndpointConfigArn": "arn", "CreationTime": datetime(2026, 11, 23, 12, tzinfo=UTC)}

    def get_paginator(self, _: str) -> "Description":
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"Tags": [{"Key": "lexline:model", "Value": MODEL}]}]


class ServedApi:
    """The API, called through Chalice's test client."""

    def __init__(self, runtime: ModelRuntime) -> None:
        self.runtime = runtime
        self.endpoint = Endpoint("lexline", runtime, runtime, Description())  # type: ignore[arg-type]
        self._http = Client(api.app, project_dir=str(Path(api.__file__).parent)).http

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> HTTPResponse:
        return self._http.request(method, path, headers=headers, body=body)

    def post(self, path: str, **body: Any) -> HTTPResponse:
        content = json.dumps(body).encode()
        return self.request("POST", path, content, **{"Content-Type": "application/json"})

    def ok(self, path: str, **body: Any) -> dict[str, Any]:
        """Return the body of a response that must have status 200."""
        response = self.post(path, **body)
        assert response.status_code == 200, response.body
        document: dict[str, Any] = response.json_body
        return document

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve as a WSGI application."""
        headers = {
            name[5:].replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        # wsgiref's server gives a request without a type the type text/plain.
        if environ.get("CONTENT_TYPE") and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        response = self.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, **headers)
        # API Gateway gives a response without a type the type of JSON.
        sent = {"Content-Type": "application/json", **response.headers}
        start_response(f"{response.status_code} -", [(name, str(value)) for name, value in sent.items()])
        return [response.body]


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening(served: ServedApi) -> Iterator[str]:
    """Serve the API over HTTP on a free port of this machine; give its URL."""
    with make_server("127.0.0.1", 0, served, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
