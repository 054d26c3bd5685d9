"""The HTTP API, which generates text with the model that serves and describes that model.

    POST /generate  {"seed", "temperature", "words", "prompt", "top_k", "top_p"}, each optional, returns
                    {"text", "words", "seed", "model"}
    GET  /model     the model that serves, since when, and its perplexity
    GET  /health    whether the API itself works

The Lambda handler is `app.app`, behind API Gateway's REST proxy integration. API Gateway authenticates
callers (API key or AWS_IAM), so every request that arrives here is allowed.
"""

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from chalice.app import Chalice, Request, Response

from chalicelib.endpoint import Endpoint
from chalicelib.errors import ApiError, error_response
from chalicelib.validation import parse_generate

app = Chalice(app_name="lexline-api", configure_logs=False)
logger = Logger()
_MESSAGES = {
    HTTPStatus.METHOD_NOT_ALLOWED: "This path does not have that method; see the Allow header.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Send JSON, with the header Content-Type: application/json.",
}


@cache
def endpoint() -> Endpoint:
    """Return the endpoint in ENDPOINT_NAME. Its clients are reused while the function stays warm."""
    return Endpoint.connect(os.environ["ENDPOINT_NAME"])


@app.route("/generate", methods=["POST"], content_types=["application/json"])
def generate() -> dict[str, Any]:
    """Generate text. chalicelib.errors says when the status is 400, 404, 413, 424, 429, 502 or 503."""
    request = parse_generate(_body())
    generated = endpoint().generate(request)
    # The prompt and the text belong to the caller, so neither is logged.
    logger.info(
        "generated",
        words=generated.words,
        seed=generated.seed,
        temperature=request.temperature,
        model=generated.model,
    )
    return asdict(generated)


@app.route("/model", methods=["GET"])
def model() -> dict[str, Any]:
    """Describe the model that serves."""
    return asdict(endpoint().served())


@app.route("/health", methods=["GET"])
def health() -> dict[str, str]:
    """Return that the API works. GET /model says whether a model serves."""
    return {"status": "ok"}


@app.middleware("http")
def one_error_format(request: Request | None, get_response: Callable[[Any], Response]) -> Response:
    """Give every error the same body format, including Chalice's own (405, 415, 500)."""
    if request is not None:
        # The caller and the access log have the same id.
        logger.set_correlation_id(request.context.get("requestId"))
        logger.append_keys(path=request.path)
        if request.path not in app.routes:
            message = f"This path does not exist; there are {', '.join(app.routes)}."
            return error_response(404, "not_found", message)
    try:
        response = get_response(request)
    except ApiError as error:
        logger.warning(error.message, status=error.status, code=error.code, cause=repr(error.__cause__))
        return error.response()
    if response.status_code < 400:
        return response
    status = HTTPStatus(response.status_code)
    message = _MESSAGES.get(status, "Something went wrong inside the API.")
    headers = {name: str(value) for name, value in response.headers.items() if name == "Allow"}
    return error_response(status, status.name.lower(), message, headers=headers)


def _body() -> bytes:
    assert app.current_request is not None
    body = app.current_request.raw_body
    return body if isinstance(body, bytes) else body.encode()
