"""Validation of the bodies of requests, by the same rules as the endpoint's: see request_body.py."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib import request_body
from chalicelib.errors import BodyTooLarge, FieldError, InvalidRequest
from chalicelib.request_body import Request, ScoreRequest


@contextmanager
def refusing(body: bytes) -> Iterator[None]:
    """Raise the API's error when a body is invalid.

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


def parse_generate(body: bytes) -> Request:
    """Return the request for text in a body. The default seed is random. Raises what `refusing` raises."""
    with refusing(body):
        fields = request_body.read(body)
    return Request(**{"seed": secrets.randbelow(2**32), **fields})


def parse_score(body: bytes) -> ScoreRequest:
    """Return the request to score a text in a body. Raises what `refusing` raises."""
    with refusing(body):
        return ScoreRequest(**request_body.read_score(body))
