"""Validation of the body of `POST /generate`. Errors name every field that is wrong.

FIELDS has the limits of a request. model_scripts/generate.py and the table in README.md repeat them, because
a model's artifact cannot import this module; tests/unit/api/test_limits.py compares all three.

pydantic's validators are used without its models: a cold start imports them in 20 ms, and models in 160 ms
(processor time, from a layer without bytecode).
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

from chalicelib.errors import BodyTooLarge, FieldError, InvalidRequest

# Enough for the longest prompt with every character written as a JSON escape.
MAX_BODY_BYTES = 128 * 1024
MOST_FIELDS_NAMED = 50
LONGEST_NAME_SHOWN = 50
_SEEDS = 2**32

# Strict: true is not an integer, and "5" is not a number.
FIELDS: dict[str, Any] = {
    "seed": core_schema.int_schema(strict=True, ge=0, le=_SEEDS - 1),
    "temperature": core_schema.float_schema(strict=True, ge=0.001, le=100, allow_inf_nan=False),
    "words": core_schema.int_schema(strict=True, ge=1, le=1_000),
    "prompt": core_schema.str_schema(strict=True, max_length=10_000),
    "top_k": core_schema.int_schema(strict=True, ge=1, le=1_000_000),
    "top_p": core_schema.float_schema(strict=True, gt=0, le=1, allow_inf_nan=False),
}
_VALIDATOR = SchemaValidator(
    core_schema.typed_dict_schema(
        {name: core_schema.typed_dict_field(schema, required=False) for name, schema in FIELDS.items()}
    )
)


@dataclass(frozen=True)
class GenerateRequest:
    """A valid request. Without a prompt the model starts by itself; top_k and top_p may leave words out."""

    seed: int
    temperature: float = 1.0
    words: int = 100
    prompt: str = ""
    top_k: int | None = None
    top_p: float | None = None


def parse_generate(body: bytes) -> GenerateRequest:
    """Return the request in a body. An empty body means all defaults; the default seed is random.

    Raises:
        BodyTooLarge: The body has more than MAX_BODY_BYTES.
        InvalidRequest: The body is not a JSON object, or fields of it are unknown or out of range.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"The body has {len(body):,} bytes; at most {MAX_BODY_BYTES:,} are read.")
    fields = _json_object(body)
    if len(fields) > MOST_FIELDS_NAMED:
        raise InvalidRequest(f"The body has {len(fields):,} fields; there are only {', '.join(FIELDS)}.")
    unknown = f"is not a field of this request; there are {', '.join(FIELDS)}"
    errors = [FieldError(_shown(name), unknown) for name in fields if name not in FIELDS]
    try:
        valid = _VALIDATOR.validate_python({name: fields[name] for name in fields if name in FIELDS})
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = str(problem["loc"][0])
            errors.append(FieldError(name, _problem(name, problem["type"], fields[name])))
    if errors:
        names = ", ".join(error.field for error in errors)
        raise InvalidRequest(f"The request cannot be used because of: {names}.", errors=errors)
    return GenerateRequest(**{"seed": secrets.randbelow(_SEEDS), **valid})


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise InvalidRequest('The body must be a JSON object, for example {"words": 100}.')
    return value


def _shown(name: str) -> str:
    """Return an unknown field's name, short, and with halves of surrogate pairs escaped for the log."""
    return name[:LONGEST_NAME_SHOWN].encode("utf-8", "backslashreplace").decode()[:LONGEST_NAME_SHOWN]


def _problem(name: str, kind: str, value: Any) -> str:
    schema = FIELDS[name]
    if kind == "string_too_long":
        return f"must have at most {schema['max_length']} characters; this one has {len(value)}"
    if kind == "string_unicode":
        return "must be valid Unicode; it holds half of a surrogate pair"
    if schema["type"] == "str":
        return "must be a string"
    number = "an integer" if schema["type"] == "int" else "a number"
    limits = f"from {schema['ge']} to" if "ge" in schema else f"above {schema['gt']} and at most"
    return f"must be {number} {limits} {schema['le']}"
