import json
from typing import Any

import pytest

from chalicelib.errors import InvalidRequest
from chalicelib.validation import MAX_PROMPT_CHARACTERS, MAX_SEED, GenerateRequest, parse_generate


def parse(**fields: Any) -> GenerateRequest:
    return parse_generate(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 0},
        {"seed": MAX_SEED},
        {"words": 1},
        {"words": 1000},
        {"temperature": 0.001},
        {"temperature": 100},
        {"top_k": 1},
        {"top_k": 1_000_000},
        {"top_p": 1e-9},
        {"top_p": 1},
        {"prompt": "x" * MAX_PROMPT_CHARACTERS},
        {"prompt": "\U0001f600" * MAX_PROMPT_CHARACTERS},
    ],
)
def test_the_ends_of_every_range_are_inside(fields: dict[str, Any]) -> None:
    assert vars(parse(**fields)).items() >= fields.items()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("seed", MAX_SEED + 1),
        ("seed", 1.0),
        ("seed", "1"),
        ("seed", None),
        ("words", 0),
        ("words", 1001),
        ("words", True),
        ("words", 10**400),
        ("temperature", 0.0009),
        ("temperature", 100.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", False),
        ("top_k", 0),
        ("top_k", 1_000_001),
        ("top_k", 2.0),
        ("top_k", True),
        ("top_k", None),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("top_p", True),
        ("top_p", "0.9"),
        ("prompt", None),
        ("prompt", ["x"]),
        ("prompt", "x" * (MAX_PROMPT_CHARACTERS + 1)),
        ("prompt", "\ud83d"),
        ("Words", 5),
    ],
)
def test_a_wrong_field_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**{field: value})
    assert [error.field for error in refusal.value.errors] == [field]
    assert field in refusal.value.message


def test_fields_by_the_thousand_are_not_answered_one_by_one() -> None:
    with pytest.raises(InvalidRequest, match="has 9,000 fields") as refusal:
        parse(**{str(number): number for number in range(9000)})
    assert refusal.value.errors == ()


@pytest.mark.parametrize("name", ["x" * 100_000, "\ud83d"])
def test_a_name_is_shown_short_and_as_text_that_can_be_logged(name: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**{name: 1})
    (error,) = refusal.value.errors
    assert len(error.field) <= 60
    assert error.field.encode()
    assert len(refusal.value.message.encode()) < 200


def test_a_seed_is_drawn_when_none_is_given() -> None:
    seeds = {parse().seed for _ in range(20)}
    assert len(seeds) > 1
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_without_fields_it_is_100_words_at_temperature_1() -> None:
    request = parse()
    assert (request.words, request.temperature, request.prompt) == (100, 1.0, "")
    assert (request.top_k, request.top_p) == (None, None)
