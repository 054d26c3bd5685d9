"""The HTTP API: text from the model that serves now, and what that model is.

    POST /generate  {"seed", "temperature", "words", "prompt", "top_k", "top_p"}, each optional, gives
                    {"text", "words", "seed", "model"}
    GET  /model     what is served, since when, its perplexity
    GET  /health    the API itself is up

The Lambda handler is `app.app`, behind API Gateway's REST proxy integration. Who may call is the gateway's
business (API key or AWS_IAM): a request that arrives here has been let in.
"""

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from chalice.app import Chalice, Request, Response

from chalicelib.errors import ApiError, error_response
from chalicelib.model import Endpoint
from chalicelib.validation import parse_generate

app = Chalice(app_name="lexline-api", configure_logs=False)
logger = Logger()


@cache
def endpoint() -> Endpoint:
    """The endpoint that ENDPOINT_NAME names; its clients live as long as the Lambda environment."""
    return Endpoint.connect(os.environ["ENDPOINT_NAME"])


@app.route("/generate", methods=["POST"], content_types=["application/json"])
def generate() -> dict[str, Any]:
    """Generates text. 400, 404, 413, 415, 424, 429, 502 and 503 as chalicelib.errors says."""
    request = parse_generate(_body())
    generated = endpoint().generate(request)
    # The prompt and the text are the caller's and stay out of the log.
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
    """Describes the model that is being served."""
    return asdict(endpoint().served())


@app.route("/health", methods=["GET"])
def health() -> dict[str, str]:
    """Says that the API is up. It asks nobody: whether a model serves is GET /model's answer."""
    return {"status": "ok"}


@app.middleware("http")
def one_error_format(request: Request | None, get_response: Callable[[Any], Response]) -> Response:
    """Gives every error the one body format, Chalice's own errors (405, 415, 500) included."""
    if request is not None:
        # The id that the caller and the access log know the request by.
        logger.set_correlation_id(request.context.get("requestId"))
        logger.append_keys(path=request.path)
        if request.path not in app.routes:
            return error_response(
                404, "not_found", f"There is no such path; there are {', '.join(app.routes)}."
            )
    try:
        response = get_response(request)
    except ApiError as error:
        logger.warning(error.message, status=error.status, code=error.code, cause=repr(error.__cause__))
        return error.response()
    if response.status_code < 400:
        return response
    status = HTTPStatus(response.status_code)
    return error_response(status, status.name.lower(), _sentence(status), headers=_kept(response.headers))


def _body() -> bytes:
    assert app.current_request is not None
    body = app.current_request.raw_body
    return body if isinstance(body, bytes) else body.encode()


def _sentence(status: HTTPStatus) -> str:
    return {
        HTTPStatus.METHOD_NOT_ALLOWED: "This path does not take that method.",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Send JSON, with the header Content-Type: application/json.",
    }.get(status, "Something went wrong inside the API.")


def _kept(headers: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name == "Allow"}
