"""Validation of the body of `POST /generate`, by the same rules as the endpoint's: see request_body.py."""

import secrets

from chalicelib import request_body
from chalicelib.errors import BodyTooLarge, FieldError, InvalidRequest
from chalicelib.request_body import Request


def parse_generate(body: bytes) -> Request:
    """Return the request in a body. The default seed is random.

    Raises:
        BodyTooLarge: The body has more than MOST_BYTES.
        InvalidRequest: The body is not a JSON object, or fields of it are unknown or out of range.
    """
    try:
        fields = request_body.read(body)
    except request_body.InvalidRequest as error:
        if len(body) > request_body.MOST_BYTES:
            raise BodyTooLarge(str(error)) from None
        wrong = [FieldError(name, problem) for name, problem in error.fields.items()]
        raise InvalidRequest(str(error), errors=wrong) from None
    return Request(**{"seed": secrets.randbelow(2**32), **fields})
