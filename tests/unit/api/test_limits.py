"""The limits of a request are the same in the API, in a model's endpoint and in the documentation."""

import json
import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import generate
from app import parse_generate
from request_body import FIELDS, MOST_PROMPT_CHARACTERS, NUMBERS
from tests.unit.docs.tables import rows

NUMBER = st.one_of(
    st.sampled_from([-1, 0, 0.001, 1, 100, 100.0, 100.5, 1000, 1001, 10**6, 2**32 - 1, 2**32, 10**400]),
    st.integers(),
    st.floats(),
)
VALUE = st.one_of(NUMBER, st.none(), st.booleans(), st.text(), st.text("\ud800\0a"), st.lists(st.integers()))
NAME = st.one_of(st.sampled_from([*FIELDS, "Words"]), st.text(max_size=3))


def object_of(fields: list[tuple[str, Any]]) -> str:
    """Return a JSON object, which may have two fields of the same name."""
    return "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields) + "}"


def spoiled(body: str, position: int, inserted: bytes) -> bytes:
    return body.encode()[:position] + inserted + body.encode()[position:]


BODY = st.one_of(st.lists(st.tuples(NAME, VALUE), max_size=4).map(object_of), VALUE.map(json.dumps))
BYTES = st.one_of(
    BODY.map(str.encode),
    st.builds(str.encode, BODY, st.sampled_from(["utf-8-sig", "utf-16", "utf-32-be"])),
    st.builds(spoiled, BODY, st.integers(0, 40), st.binary(max_size=2)),
    st.binary(max_size=20),
)


def outcome(check: Callable[[bytes], Any], body: bytes) -> Any:
    """Return the request, or the sentence that refuses the body."""
    try:
        return vars(check(body))
    except Exception as error:
        # An error that carries a status, of the API or of SageMaker's inference toolkit.
        return getattr(error, "message", str(error))


def at_endpoint(body: bytes) -> Any:
    """Check a request as SageMaker's inference toolkit does before it calls the model."""
    return generate.input_fn(body, "application/json")


@given(BYTES)
def test_the_api_and_the_endpoint_give_the_same_answer_to_any_body(body: bytes) -> None:
    # The endpoint's default seed is fixed, and the API's is random.
    with mock.patch("secrets.randbelow", return_value=1111):
        assert outcome(parse_generate, body) == outcome(at_endpoint, body)


@pytest.mark.parametrize("field", FIELDS)
def test_the_documentation_has_the_same_limits(field: str) -> None:
    (row,) = (row for row in rows("../README.md", "range") if row["field"] == f"`{field}`")
    documented = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,.]*", row["range"])]
    if field in NUMBERS:
        assert documented == [NUMBERS[field].least, NUMBERS[field].most]
    else:
        assert documented in ([], [MOST_PROMPT_CHARACTERS])
    default = vars(parse_generate(b"{}"))[field]
    if default and field != "seed":
        assert float(row["default"]) == default
