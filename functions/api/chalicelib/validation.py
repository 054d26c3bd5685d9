"""Checks `POST /generate` bodies: all fields are looked at, and every one that is wrong is named."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import BodyTooLarge, FieldError, InvalidRequest

MAX_BODY_BYTES = 128 * 1024
"""Room for the longest prompt with every character written as a JSON escape."""
MAX_PROMPT_CHARACTERS = 10_000
"""As many as generate.py reads."""
MAX_WORDS = 1_000
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.001, 100.0
MAX_TOP_K = 1_000_000
MAX_SEED = 2**32 - 1
"""Seeds are unsigned 32-bit integers, as generate.py takes them."""

MOST_FIELDS_NAMED = 50
LONGEST_NAME_SHOWN = 50

DEFAULT_WORDS = 100
DEFAULT_TEMPERATURE = 1.0


@dataclass(frozen=True)
class GenerateRequest:
    """What to generate. `prompt` is empty when the model is to begin by itself; without `top_k` and `top_p`
    it draws from all words."""

    seed: int
    temperature: float
    words: int
    prompt: str = ""
    top_k: int | None = None
    top_p: float | None = None


def parse_generate(body: bytes) -> GenerateRequest:
    """Reads a request body. An empty body means all defaults; a seed left out is drawn at random.

    Raises BodyTooLarge beyond MAX_BODY_BYTES, and InvalidRequest for anything but a JSON object whose fields
    are all known and in range.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"The body has {len(body):,} bytes; at most {MAX_BODY_BYTES:,} are read.")
    fields = _json_object(body)
    if len(fields) > MOST_FIELDS_NAMED:
        raise InvalidRequest(f"The body has {len(fields):,} fields; there are only {', '.join(_CHECKS)}.")
    errors = [
        FieldError(_shown(name), f"is not a field of this request; there are {', '.join(_CHECKS)}")
        for name in fields
        if name not in _CHECKS
    ]
    errors += [
        FieldError(name, problem)
        for name, check in _CHECKS.items()
        if name in fields and (problem := check(fields[name]))
    ]
    if errors:
        names = ", ".join(error.field for error in errors)
        raise InvalidRequest(f"The request cannot be used because of: {names}.", errors=errors)
    return GenerateRequest(
        seed=fields.get("seed", secrets.randbelow(MAX_SEED + 1)),
        temperature=float(fields.get("temperature", DEFAULT_TEMPERATURE)),
        words=fields.get("words", DEFAULT_WORDS),
        prompt=fields.get("prompt", ""),
        top_k=fields.get("top_k"),
        top_p=fields.get("top_p"),
    )


def _shown(name: str) -> str:
    """The name of an unknown field, short, and with halves of surrogate pairs escaped: no log takes them."""
    return name[:LONGEST_NAME_SHOWN].encode("utf-8", "backslashreplace").decode()[:LONGEST_NAME_SHOWN]


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise InvalidRequest('The body must be a JSON object, for example {"words": 100}.')
    return value


def _integer(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        # In Python true is an int; in JSON it is not a number.
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be an integer from {low} to {high}"

    return check


def _temperature(value: Any) -> str | None:
    if _is_number(value) and MIN_TEMPERATURE <= value <= MAX_TEMPERATURE:
        return None
    return f"must be a number from {MIN_TEMPERATURE} to {MAX_TEMPERATURE:g}"


def _top_p(value: Any) -> str | None:
    return None if _is_number(value) and 0 < value <= 1 else "must be a number above 0 and at most 1"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _prompt(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > MAX_PROMPT_CHARACTERS:
        return f"must have at most {MAX_PROMPT_CHARACTERS} characters; this one has {len(value)}"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "must be valid Unicode; it holds half of a surrogate pair"
    return None


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "seed": _integer(0, MAX_SEED),
    "temperature": _temperature,
    "words": _integer(1, MAX_WORDS),
    "prompt": _prompt,
    "top_k": _integer(1, MAX_TOP_K),
    "top_p": _top_p,
}
