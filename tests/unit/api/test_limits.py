"""The limits of a request are the same in the API, in a model's endpoint and in the documentation."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

import generate
from chalicelib.validation import FIELDS, parse_generate
from tests.unit.docs.tables import rows


def at_endpoint(body: bytes) -> Any:
    """Check a request as SageMaker's inference toolkit does before it calls the model."""
    return generate.input_fn(body, "application/json")


def edges(field: str) -> tuple[list[Any], list[Any]]:
    """Return values at the limits of a field, and values just beyond them."""
    schema = FIELDS[field]
    if schema["type"] == "str":
        longest = "x" * schema["max_length"]
        return ["", longest, "\U0001f600" * len(longest)], [longest + "x"]
    step = 1 if schema["type"] == "int" else 0.0001
    lowest = schema.get("ge", step)
    return [lowest, schema["le"]], [lowest - step, schema["le"] + step]


@pytest.mark.parametrize("check", [parse_generate, at_endpoint])
@pytest.mark.parametrize("field", FIELDS)
def test_the_api_and_the_endpoint_have_the_same_limits(field: str, check: Callable[[bytes], Any]) -> None:
    inside, beyond = edges(field)
    for value in inside:
        assert getattr(check(json.dumps({field: value}).encode()), field) == value
    for value in beyond:
        with pytest.raises(Exception, match=field):
            check(json.dumps({field: value}).encode())


def test_the_api_and_the_endpoint_have_the_same_fields_and_defaults() -> None:
    api, endpoint = vars(parse_generate(b"{}")), vars(at_endpoint(b"{}"))
    assert api.keys() == endpoint.keys() == FIELDS.keys()
    # The endpoint's default seed is fixed, and the API's is random.
    assert {**api, "seed": None} == {**endpoint, "seed": None}


@pytest.mark.parametrize("field", FIELDS)
def test_the_documentation_has_the_same_limits(field: str) -> None:
    schema = FIELDS[field]
    (row,) = (row for row in rows("../README.md", "range") if row["field"] == f"`{field}`")
    documented = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,.]*", row["range"])]
    if schema["type"] == "str":
        assert documented in ([], [schema["max_length"]])
    else:
        assert documented == [schema.get("ge", schema.get("gt")), schema["le"]]
    default = vars(parse_generate(b"{}"))[field]
    if default and field != "seed":
        assert float(row["default"]) == default
