"""The HTTP API, which generates and scores text with the model that serves and describes that model.

    POST /generate        {"seed", "temperature", "words", "prompt", ...}, each optional, returns
                          {"text", "words", "seed", "model", ...}
    POST /score           {"text"} returns the perplexity and the log probability of each word
    POST /v1/completions  completions in the form of OpenAI's API
    GET  /v1/models       the model that serves, in the form of OpenAI's API
    GET  /model           the model that serves, since when, and its perplexity
    GET  /health          whether the API itself works

chalicelib/request_body.py has the fields.
HEAD works like GET. docs/api.md describes requests, errors and limits.

The Lambda handler is `app.app`, behind API Gateway's REST proxy integration. API Gateway authenticates
callers (API key or AWS_IAM), so every request that arrives here is allowed. The exception is a browser's
preflight request (OPTIONS), which has no key and reaches nothing but `cross_origin`.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from chalice.app import Chalice, Response
from chalice.app import Request as HttpRequest

from chalicelib import completions, request_body
from chalicelib.endpoint import Endpoint
from chalicelib.errors import ApiError, error_response, refusing
from chalicelib.request_body import Request, ScoreRequest

app = Chalice(app_name="lexline-api", configure_logs=False)
logger = Logger()
_MESSAGES = {
    HTTPStatus.METHOD_NOT_ALLOWED: "This path does not have that method; see the Allow header.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Send JSON, with the header Content-Type: application/json.",
}


_JSON = ["application/json"]
_OPENAI = "/v1/"
"""The paths of OpenAI's API, whose errors have OpenAI's form."""
_FIRST_FIELDS = ("seed", "temperature", "words", "prompt", "top_k", "top_p")
"""The fields of a request for text in the API's first version."""
_FIRST_RESPONSE = ("text", "words", "seed", "model", "unknown_words")
"""The fields of the response to a request that has only those."""
_RESPONSE = (*_FIRST_RESPONSE, "tokens", "finish_reason", "prompt_tokens", "log_probabilities", "texts")
_CROSS_ORIGIN = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": (
        "Content-Type, X-Api-Key, Authorization, X-Amz-Content-Sha256, X-Amz-Date, X-Amz-Security-Token"
    ),
    "Access-Control-Expose-Headers": "Retry-After",
    "Access-Control-Max-Age": "3600",
}


@cache
def endpoint() -> Endpoint:
    """Return the endpoint in ENDPOINT_NAME. Its clients are reused while the function stays warm."""
    return Endpoint.connect(os.environ["ENDPOINT_NAME"], longest_wait())


def longest_wait() -> int:
    """Return for how many seconds a request waits while no instance of the endpoint takes it."""
    return int(os.environ["WAIT_SECONDS"])


def parse_generate(body: bytes) -> Request:
    """Return the request for text in a body. The default seed is random. Raises what `refusing` raises."""
    with refusing(body):
        fields = request_body.read(body)
    return Request(**{"seed": secrets.randbelow(2**32), **fields})


def parse_score(body: bytes) -> ScoreRequest:
    """Return the request to score a text in a body. Raises what `refusing` raises."""
    with refusing(body):
        return ScoreRequest(**request_body.read_score(body))


@app.route("/generate", methods=["POST"], content_types=_JSON)
def generate() -> dict[str, Any]:
    """Generate text. chalicelib.errors has the errors and their statuses."""
    request = parse_generate(_body())
    response = endpoint().waiting(longest_wait()).generate(request)
    # The prompt and the text belong to the caller, so neither is logged.
    logger.info(
        "generated",
        words=response["words"],
        seed=response["seed"],
        temperature=request.temperature,
        model=response["model"],
    )
    first = Request(**{name: getattr(request, name) for name in _FIRST_FIELDS})
    returned = _FIRST_RESPONSE if request == first else _RESPONSE
    return {name: response[name] for name in returned if name in response}


@app.route("/score", methods=["POST"], content_types=_JSON)
def score() -> dict[str, Any]:
    """Score a text: its perplexity, and how probable each word is."""
    response = endpoint().waiting(longest_wait()).score(parse_score(_body()))
    logger.info("scored", tokens=response["tokens"], model=response["model"])
    return response


@app.route("/v1/completions", methods=["POST"], content_types=_JSON)
def create_completions() -> dict[str, Any]:
    """Generate text for a client of OpenAI's API."""
    completion = completions.parse(_body())
    served = endpoint().waiting(longest_wait())
    response = completions.complete(completion, served.name, served.generate)
    logger.info("completed", **response["usage"], model=response["model"])
    return response


@app.route("/v1/models", methods=["GET", "HEAD"])
def list_models() -> dict[str, Any]:
    """Describe the model that serves, for a client of OpenAI's API."""
    return completions.models(endpoint().served())


@app.route("/model", methods=["GET", "HEAD"])
def model() -> dict[str, Any]:
    """Describe the model that serves."""
    return asdict(endpoint().served())


@app.route("/health", methods=["GET", "HEAD"])
def health() -> dict[str, str]:
    """Return that the API works. GET /model says whether a model serves."""
    return {"status": "ok"}


@app.middleware("http")
def cross_origin(request: HttpRequest | None, get_response: Callable[[Any], Response]) -> Response:
    """Respond to preflight requests, and let web pages of ALLOWED_ORIGINS read every response."""
    if request is None:
        return get_response(request)
    is_preflight = request.method == "OPTIONS"
    response = Response("", status_code=HTTPStatus.NO_CONTENT) if is_preflight else get_response(request)
    response.headers["Vary"] = "Origin"
    origin = request.headers.get("origin")
    if origin and origin in os.environ["ALLOWED_ORIGINS"].split(","):
        response.headers.update({"Access-Control-Allow-Origin": origin, **_CROSS_ORIGIN})
    return response


@app.middleware("http")
def one_error_format(request: HttpRequest | None, get_response: Callable[[Any], Response]) -> Response:
    """Give every error the format of its path, including Chalice's own (405, 415, 500)."""
    as_openai = request is not None and request.path.startswith(_OPENAI)
    if request is not None:
        # The caller and the access log have the same id.
        logger.set_correlation_id(request.context.get("requestId"))
        logger.append_keys(path=request.path)
        if request.path not in app.routes:
            message = f"This path does not exist; there are {', '.join(app.routes)}."
            return error_response(404, "not_found", message, as_openai=as_openai)
    try:
        response = get_response(request)
    except ApiError as error:
        logger.warning(error.message, status=error.status, code=error.code, cause=repr(error.__cause__))
        return error.response(as_openai=as_openai)
    if response.status_code < 400:
        return response
    status = HTTPStatus(response.status_code)
    message = _MESSAGES.get(status, "Something went wrong inside the API.")
    headers = {name: str(value) for name, value in response.headers.items() if name == "Allow"}
    return error_response(status, status.name.lower(), message, headers=headers, as_openai=as_openai)


def _body() -> bytes:
    assert app.current_request is not None
    body = app.current_request.raw_body
    return body if isinstance(body, bytes) else body.encode()
