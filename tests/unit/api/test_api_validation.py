"""Requests are checked before they reach the model, and errors name every wrong field."""

import json
from typing import Any

import pytest

from chalicelib.errors import InvalidRequest
from chalicelib.validation import GenerateRequest, parse_generate


def parse(**fields: Any) -> GenerateRequest:
    return parse_generate(json.dumps(fields).encode())


def test_every_field_is_parsed() -> None:
    fields = {"seed": 7, "temperature": 2, "words": 5, "prompt": "\U0001f600", "top_k": 3, "top_p": 0.5}
    assert parse(**fields) == GenerateRequest(**fields)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", 1.0, "must be an integer from 0 to 4294967295"),
        ("seed", "1", "must be an integer"),
        ("seed", None, "must be an integer"),
        ("words", 0, "must be an integer from 1 to 1000"),
        ("words", True, "must be an integer"),
        ("words", 10**400, "must be an integer"),
        ("temperature", 10**400, "must be a number"),
        ("temperature", float("nan"), "must be a number from 0.001 to 100"),
        ("temperature", float("inf"), "must be a number"),
        ("temperature", False, "must be a number"),
        ("top_k", 2.0, "must be an integer from 1 to 1000000"),
        ("top_k", None, "must be an integer"),
        ("top_p", 0, "must be a number above 0 and at most 1"),
        ("top_p", float("nan"), "must be a number"),
        ("top_p", "0.9", "must be a number"),
        ("prompt", None, "must be a string"),
        ("prompt", ["x"], "must be a string"),
        ("prompt", "x" * 10_001, "must have at most 10000 characters; this one has 10001"),
        ("prompt", "\ud83d", "must be valid Unicode"),
        ("Words", 5, "is not a field of this request; there are seed, temperature, words, prompt,"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_must_be(field: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**{field: value})
    (error,) = refusal.value.errors
    assert error.field == field
    assert error.message.startswith(message)
    assert field in refusal.value.message


def test_thousands_of_fields_are_not_listed() -> None:
    with pytest.raises(InvalidRequest, match="has 9,000 fields") as refusal:
        parse(**{str(number): number for number in range(9000)})
    assert refusal.value.errors == ()


@pytest.mark.parametrize("name", ["x" * 100_000, "\ud83d"])
def test_an_unknown_name_is_shortened_to_text_that_can_be_logged(name: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**{name: 1})
    (error,) = refusal.value.errors
    assert len(error.field) <= 60
    assert error.field.encode()
    assert len(refusal.value.message.encode()) < 200


def test_the_default_is_100_words_at_temperature_1_with_a_random_seed() -> None:
    requests = [parse() for _ in range(20)]
    assert len({request.seed for request in requests}) > 1
    for request in requests:
        assert 0 <= request.seed < 2**32
        assert request == GenerateRequest(request.seed, temperature=1.0, words=100, prompt="")
