"""The API checks requests by the endpoint's own rules before they reach the model."""

import pytest

from app import parse_generate
from chalicelib.errors import BodyTooLarge, FieldError, InvalidRequest
from chalicelib.request_body import MOST_BYTES, Request


def test_each_wrong_field_is_an_error_of_its_own() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_generate(b'{"words": 0, "prompt": 4}')
    assert refusal.value.errors == [
        FieldError("words", "must be a whole number from 1 to 1,000"),
        FieldError("prompt", "must be a string"),
    ]
    assert refusal.value.message == "words must be a whole number from 1 to 1,000. prompt must be a string."


def test_a_body_that_is_too_large_has_an_error_of_its_own() -> None:
    assert parse_generate(b" " * MOST_BYTES).words == 100
    with pytest.raises(BodyTooLarge):
        parse_generate(b" " * (MOST_BYTES + 1))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"seed": null}'])
def test_the_default_is_100_words_at_temperature_1_with_a_random_seed(body: bytes) -> None:
    requests = [parse_generate(body) for _ in range(20)]
    assert len({request.seed for request in requests}) > 1
    for request in requests:
        assert 0 <= request.seed < 2**32
        assert request == Request(request.seed, temperature=1.0, words=100, prompt="")
