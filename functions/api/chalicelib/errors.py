"""The API's errors: an HTTP status, a code for programs and a sentence for people.

Every error body is `{"code": ..., "message": ...}`. An invalid request adds `errors`, with one entry for each
invalid field. On the paths of OpenAI's API it is `{"error": {"code", "message", "type", "param"}}`. Messages
have no ARN, account or stack trace; the log has them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from chalice.app import ChaliceUnhandledError, Response

from chalicelib import request_body


@dataclass(frozen=True)
class FieldError:
    """An invalid field of the request body, and why it is invalid."""

    field: str
    message: str


class ApiError(ChaliceUnhandledError):
    """An error that becomes the response.

    Chalice gives most exceptions a response of its own; it leaves this base class to the middleware.
    """

    status = 500

    def __init__(self, message: str, *, errors: Sequence[FieldError] = (), retry: int | None = None) -> None:
        """Describe the error; `retry` is the number of seconds after which a retry may succeed."""
        super().__init__(message)
        self.message = message
        self.errors = errors
        self.retry = retry
        # InvalidRequest has the code invalid_request.
        self.code = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def response(self, *, as_openai: bool = False) -> Response:
        """Return the HTTP response for this error, in the API's own form or in that of OpenAI."""
        headers = {} if self.retry is None else {"Retry-After": str(self.retry)}
        return error_response(
            self.status, self.code, self.message, errors=self.errors, headers=headers, as_openai=as_openai
        )


class InvalidRequest(ApiError):
    """The body is not JSON, or fields of it are invalid."""

    status = 400


class NoEndpoint(ApiError):
    """No model has been deployed, or the endpoint was torn down."""

    status = 404


class ModelNotFound(ApiError):
    """The request names a model that does not serve."""

    status = 404


class BodyTooLarge(ApiError):
    """The request body is longer than the API reads."""

    status = 413


class ModelFailed(ApiError):
    """The model returned an error."""

    status = 424


class Throttled(ApiError):
    """SageMaker asks for fewer requests."""

    status = 429


class NotPermitted(ApiError):
    """The API's own role lacks a permission. The caller cannot change that."""


class ModelUnreachable(ApiError):
    """The endpoint failed, or its response is not the model's. A retry does not help."""

    status = 502


class Deploying(ApiError):
    """The first model is still being deployed."""

    status = 503


class ModelUnavailable(ApiError):
    """The model cannot respond for a moment, for example because its instance restarts."""

    status = 503

    def __init__(self, message: str, *, retry: int | None = None, refused: bool = False) -> None:
        """Describe the error; `refused` says that the request was refused at once and reached no model."""
        super().__init__(message, retry=retry)
        self.refused = refused


@contextmanager
def refusing(body: bytes) -> Iterator[None]:
    """Raise the API's error when request_body, which the endpoint uses too, says that a body is invalid.

    Raises:
        BodyTooLarge: The body has more than MOST_BYTES.
        InvalidRequest: The body is not a JSON object, or fields of it are unknown or out of range.
    """
    try:
        yield
    except request_body.InvalidRequest as error:
        if len(body) > request_body.MOST_BYTES:
            raise BodyTooLarge(str(error)) from None
        wrong = [FieldError(name, problem) for name, problem in error.fields.items()]
        raise InvalidRequest(str(error), errors=wrong) from None


def error_response(
    status: int,
    code: str,
    message: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    as_openai: bool = False,
) -> Response:
    """Return a response with an error, in the API's own form or in that of OpenAI."""
    body: dict[str, Any] = {"code": code, "message": message}
    if as_openai:
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        kind = "server_error" if status >= 500 else kind
        body = {"error": {**body, "type": kind, "param": errors[0].field if errors else None}}
    elif errors:
        body["errors"] = [asdict(error) for error in errors]
    return Response(
        body=body, status_code=status, headers={"Content-Type": "application/json", **(headers or {})}
    )
