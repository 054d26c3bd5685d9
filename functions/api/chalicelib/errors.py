"""The API's errors: an HTTP status, a code for programs and a sentence for people.

Every error body is `{"code": ..., "message": ...}`. A refused request adds `errors`, one entry per invalid
field. No message carries an ARN, an account or a stack trace; those go to the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chalice.app import ChaliceUnhandledError, Response


@dataclass(frozen=True)
class FieldError:
    """One field of the request body that cannot be used, and why."""

    field: str
    message: str


class ApiError(ChaliceUnhandledError):
    """An error that is the answer to the request.

    Chalice answers most exceptions in its own format; this base class is the one it leaves to the middleware.
    """

    status = 500
    code = "internal_error"

    def __init__(
        self, message: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The HTTP response that says this error."""
        return error_response(self.status, self.code, self.message, errors=self.errors, headers=self.headers)


class InvalidRequest(ApiError):
    """The body is not JSON, or fields of it are not what they must be."""

    status = 400
    code = "invalid_request"


class NoEndpoint(ApiError):
    """Nothing has been deployed yet, or it was torn down."""

    status = 404
    code = "no_endpoint"


class BodyTooLarge(ApiError):
    """The request body is longer than the API reads."""

    status = 413
    code = "body_too_large"


class ModelFailed(ApiError):
    """The model was reached and answered with an error."""

    status = 424
    code = "model_failed"


class Throttled(ApiError):
    """SageMaker asks for fewer requests."""

    status = 429
    code = "throttled"


class NotPermitted(ApiError):
    """The API's own role lacks a permission; the caller can do nothing about it."""

    status = 500
    code = "not_permitted"


class ModelUnreachable(ApiError):
    """No usable answer came from the endpoint: it is down, too slow, or not speaking the agreed JSON."""

    status = 502
    code = "model_unreachable"


class Deploying(ApiError):
    """The first model is still being deployed."""

    status = 503
    code = "deploying"


def error_response(
    status: int,
    code: str,
    message: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error body in the API's one format."""
    body: dict[str, Any] = {"code": code, "message": message}
    if errors:
        body["errors"] = [asdict(error) for error in errors]
    return Response(
        body=body, status_code=status, headers={"Content-Type": "application/json", **(headers or {})}
    )
