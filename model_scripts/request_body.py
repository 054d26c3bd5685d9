"""The body of a request for text: the fields, their limits, and what makes a body invalid.

    {"seed": 111, "temperature": 0.8, "words": 100, "prompt": "My fellow citizens", "top_k": 40, "top_p": 0.9}

Every field is optional. A field that is null counts as left out, and an empty body leaves out all fields.
JSON has one kind of number, so 100, 100.0 and 1e2 are the same whole number, and 100.5 is none.

The endpoint and the HTTP API both use this module, so that they give the same answer to the same body. The
API's artifact packs it through the link functions/api/chalicelib/request_body.py. So it needs nothing but
Python.
"""

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

MOST_BYTES = 128 * 1024
"""Enough for the longest prompt with every character written as a JSON escape."""
MOST_PROMPT_CHARACTERS = 10_000
MOST_FIELDS = 50
LONGEST_NAME_SHOWN = 50


@dataclass(frozen=True)
class Number:
    """The numbers that a field accepts: from `least`, or only above it, to `most`."""

    least: float
    most: float
    whole: bool = False
    above_least: bool = False

    def __str__(self) -> str:
        """Return the numbers in words."""
        kind = "a whole number" if self.whole else "a number"
        if self.above_least:
            return f"{kind} above {self.least:,} and at most {self.most:,}"
        return f"{kind} from {self.least:,} to {self.most:,}"

    def accepts(self, value: Any) -> bool:
        """Return whether a value of a JSON document, in which all numbers are floats, is one of them."""
        return (
            isinstance(value, float)
            and self.least <= value <= self.most
            and not (self.above_least and value == self.least)
            and not (self.whole and not value.is_integer())
        )


NUMBERS = {
    "seed": Number(0, 2**32 - 1, whole=True),
    "temperature": Number(0.001, 100),
    "words": Number(1, 1_000, whole=True),
    "top_k": Number(1, 1_000_000, whole=True),
    "top_p": Number(0, 1, above_least=True),
}


@dataclass(frozen=True)
class Request:
    """A valid request.

    Attributes:
        seed: An unsigned 32-bit integer.
        temperature: From 0.001 to 100.
        words: The length of the text, from 1 to 1,000.
        prompt: At most 10,000 characters.
        top_k: From 1 to 1,000,000, or None for all words.
        top_p: Above 0, at most 1, or None for all words.
    """

    seed: int = 1111
    temperature: float = 1.0
    words: int = 100
    prompt: str = ""
    top_k: int | None = None
    top_p: float | None = None


FIELDS = tuple(Request.__dataclass_fields__)


class InvalidRequest(ValueError):
    """The request is invalid. The message is one sentence, or one for each invalid field.

    Attributes:
        fields: What is wrong with each field, by its name. Empty if the body as a whole is wrong.
    """

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


def read(body: bytes) -> dict[str, Any]:
    """Return the fields that a body gives, as arguments of Request.

    Raises:
        InvalidRequest: The body is not a JSON object in UTF-8, or fields of it are unknown or out of range.
    """
    given = _object(body)
    if len(given) > MOST_FIELDS:
        raise InvalidRequest(f"The body has {len(given):,} fields; there are only {', '.join(FIELDS)}.")
    problems = {_shown(name): problem for name, value in given.items() if (problem := _problem(name, value))}
    if problems:
        sentences = (f"{name} {problem}." for name, problem in problems.items())
        raise InvalidRequest(" ".join(sentences), problems)
    return {
        name: int(value) if name in NUMBERS and NUMBERS[name].whole else value
        for name, value in given.items()
        if value is not None
    }


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MOST_BYTES:
        raise InvalidRequest(f"The body has {len(body):,} bytes; at most {MOST_BYTES:,} are read.")
    if body.startswith(codecs.BOM_UTF8):
        raise InvalidRequest("The body begins with a byte order mark. Send UTF-8 without it.")
    if (nul := body.find(0)) >= 0:
        raise InvalidRequest(f"The body has a NUL byte, at offset {nul}. Send JSON in UTF-8.")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8: the byte at offset {error.start} is invalid.") from None
    if not text.strip():
        return {}
    try:
        # With all numbers as floats, 100 is the same as 100.0, and a number of any length can be compared.
        document = json.loads(
            text, parse_int=float, parse_constant=_refuse_constant, object_pairs_hook=_once_each
        )
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deep. No field holds a list or an object.") from None
    if not isinstance(document, dict):
        raise InvalidRequest('The body must be a JSON object, for example {"words": 100}.')
    return document


def _refuse_constant(constant: str) -> NoReturn:
    raise InvalidRequest(f"The body is not valid JSON: {constant} is not a JSON number.")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of an object. Python's parser would keep the last of two with the same name."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequest(f"The body gives the field {_shown(name)} twice. Give it once.")
        found[name] = value
    return found


def _problem(name: str, value: Any) -> str:
    """Return what is wrong with a field, or an empty text."""
    if name not in FIELDS:
        return f"is not a field of this request; there are {', '.join(FIELDS)}"
    if value is None:
        return ""
    if name in NUMBERS:
        return "" if NUMBERS[name].accepts(value) else f"must be {NUMBERS[name]}"
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > MOST_PROMPT_CHARACTERS:
        return f"must have at most {MOST_PROMPT_CHARACTERS:,} characters; this one has {len(value):,}"
    if "\0" in value:
        return "must not have NUL characters"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "must be valid Unicode; it holds half of a surrogate pair"
    return ""


def _shown(name: str) -> str:
    """Return a field's name, short, and with halves of surrogate pairs escaped for logs."""
    return name[:LONGEST_NAME_SHOWN].encode("utf-8", "backslashreplace").decode()[:LONGEST_NAME_SHOWN]
