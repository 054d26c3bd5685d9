"""The bodies of requests to a model: the fields, their limits, and what makes a body invalid.

    generate   {"seed": 111, "temperature": 0.8, "words": 100, "prompt": "My fellow citizens", "top_k": 40}
    score      {"text": "My fellow citizens"}

Only `text` is required, which also tells the two apart. A field that is null counts as left out, and an empty
body leaves out all fields. JSON has one kind of number, so 100, 100.0 and 1e2 are the same whole number, and
100.5 is none.

The endpoint and the HTTP API both use this module, so that they give the same answer to the same body. The
API's artifact packs it through the link functions/api/chalicelib/request_body.py. So it needs nothing but
Python. GENERATE and SCORE are also the source of the OpenAPI document and of the help of `lexline`.
"""

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

MOST_BYTES = 1024 * 1024
"""Enough for the longest text with every character written as a JSON escape."""
MOST_PROMPT_CHARACTERS = 10_000
MOST_TEXT_CHARACTERS = 80_000
MOST_FIELDS = 50
LONGEST_NAME_SHOWN = 50


class Kind(Protocol):
    """The values that a field accepts."""

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value of a JSON document whose numbers are floats, or an empty text."""

    def read(self, value: Any) -> Any:
        """Return an accepted value as an argument of a request."""


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

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, or an empty text."""
        is_accepted = (
            isinstance(value, float)
            and self.least <= value <= self.most
            and not (self.above_least and value == self.least)
            and not (self.whole and not value.is_integer())
        )
        return "" if is_accepted else f"must be {self}"

    def read(self, value: float) -> float:
        """Return the value, as an int if all accepted numbers are whole."""
        return int(value) if self.whole else value


@dataclass(frozen=True)
class Text:
    """Strings of valid Unicode, without NUL, of at least `least` and at most `most` characters."""

    most: int
    least: int = 0

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, or an empty text."""
        if not isinstance(value, str):
            return "must be a string"
        if len(value) < self.least:
            return "must not be empty"
        if len(value) > self.most:
            return f"must have at most {self.most:,} characters; this one has {len(value):,}"
        if "\0" in value:
            return "must not have NUL characters"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "must be valid Unicode; it holds half of a surrogate pair"
        return ""

    def read(self, value: str) -> str:
        """Return the value."""
        return value


@dataclass(frozen=True)
class Texts:
    """Lists of at most `most` strings, each of which `each` accepts. A string counts as a list of one."""

    most: int
    each: Text

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, or an empty text."""
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            return "must be a string or a list of strings"
        if len(values) > self.most:
            return f"must have at most {self.most} strings; it has {len(values):,}"
        return next((problem for one in values if (problem := self.each.problem(one))), "")

    def read(self, value: Any) -> tuple[str, ...]:
        """Return the strings."""
        return (value,) if isinstance(value, str) else tuple(value)


@dataclass(frozen=True)
class Flag:
    """True and false."""

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, or an empty text."""
        return "" if isinstance(value, bool) else "must be true or false"

    def read(self, value: bool) -> bool:
        """Return the value."""
        return value


@dataclass(frozen=True)
class Field:
    """A field of a request: the values that it accepts, and what it does."""

    kind: Kind
    about: str


GENERATE: dict[str, Field] = {
    "seed": Field(
        Number(0, 2**32 - 1, whole=True),
        "The random seed. The same seed gives the same text. By default it is random, and it is returned.",
    ),
    "temperature": Field(Number(0.001, 100), "Randomness. Lower values prefer probable words."),
    "words": Field(Number(1, 1_000, whole=True), "The number of words of the text, between spaces."),
    "prompt": Field(
        Text(MOST_PROMPT_CHARACTERS), "The text to continue. The model must know at least one of its words."
    ),
    "top_k": Field(Number(1, 1_000_000, whole=True), "Draw only from this many of the most probable words."),
    "top_p": Field(
        Number(0, 1, above_least=True),
        "Draw only from the most probable words that together have this probability.",
    ),
    "stop": Field(
        Texts(4, Text(100, least=1)), "End the text before the first of these strings, or of this one string."
    ),
    "n": Field(
        Number(1, 32, whole=True), "The number of texts. The second has the next higher seed, and so on."
    ),
    "min_p": Field(
        Number(0, 1),
        "Draw only words that have at least this share of the most probable word's probability.",
    ),
    "repetition_penalty": Field(
        Number(0, 10, above_least=True),
        "Raise the probability of each word that the prompt or the text has already to this power. Values "
        "above 1 avoid repetitions.",
    ),
    "cache": Field(
        Flag(),
        "Make words that the prompt or the text has already more probable, as a continuous cache does.",
    ),
    "return_log_probabilities": Field(
        Flag(), "Return the log probability that the model gives to each word, with its place in the text."
    ),
    "alternatives": Field(
        Number(0, 20, whole=True),
        "Return this many of the most probable words at each place, too. Needs return_log_probabilities.",
    ),
    "tokens": Field(
        Number(0, 4_096, whole=True),
        "The length of the text in tokens, in place of `words`. A token is a word, a punctuation mark or a "
        "line end. The text then continues the prompt exactly, with its spaces and line ends.",
    ),
    "echo": Field(Flag(), "Begin the text with the prompt. Needs tokens."),
}
"""The fields of a request for text."""

SCORE: dict[str, Field] = {
    "text": Field(Text(MOST_TEXT_CHARACTERS, least=1), "The text to score."),
    "alternatives": Field(
        Number(0, 20, whole=True), "Return this many of the most probable words at each place, too."
    ),
    "cache": Field(
        Flag(),
        "Return the perplexity with a continuous cache, too. It makes words that the text has already more "
        "probable.",
    ),
}
"""The fields of a request to score a text."""


@dataclass(frozen=True)
class Request:
    """A valid request for text. GENERATE describes the fields."""

    seed: int = 1111
    temperature: float = 1.0
    words: int = 100
    prompt: str = ""
    top_k: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    cache: bool = False
    return_log_probabilities: bool = False
    alternatives: int = 0
    tokens: int | None = None
    echo: bool = False


@dataclass(frozen=True)
class ScoreRequest:
    """A valid request to score a text. SCORE describes the fields."""

    text: str
    alternatives: int = 0
    cache: bool = False


FIELDS = tuple(GENERATE)
NUMBERS = {name: field.kind for name, field in GENERATE.items() if isinstance(field.kind, Number)}


class InvalidRequest(ValueError):
    """The request is invalid. The message is one sentence, or one for each invalid field.

    Attributes:
        fields: What is wrong with each field, by its name. Empty if the body as a whole is wrong.
    """

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}

    @classmethod
    def of_fields(cls, problems: Mapping[str, str]) -> "InvalidRequest":
        """Return the error for what is wrong with each field."""
        return cls(" ".join(f"{name} {problem}." for name, problem in problems.items()), problems)


def read(body: bytes) -> dict[str, Any]:
    """Return the fields that the body of a request for text gives, as arguments of Request.

    Raises:
        InvalidRequest: The body is not a JSON object in UTF-8, or fields of it are unknown or out of range.
    """
    fields = checked(document(body), GENERATE)
    problems = {}
    if "words" in fields and "tokens" in fields:
        problems["tokens"] = "cannot be given together with words"
    if fields.get("alternatives") and not fields.get("return_log_probabilities"):
        problems["alternatives"] = "needs return_log_probabilities"
    if fields.get("echo") and "tokens" not in fields:
        problems["echo"] = "needs tokens"
    if problems:
        raise InvalidRequest.of_fields(problems)
    return fields


def read_score(body: bytes) -> dict[str, Any]:
    """Return the fields that the body of a request to score gives, as arguments of ScoreRequest.

    Raises:
        InvalidRequest: The body is not a JSON object in UTF-8, text is missing, or fields of it are unknown
            or out of range.
    """
    fields = checked(document(body), SCORE)
    if "text" not in fields:
        raise InvalidRequest.of_fields({"text": "is missing"})
    return fields


def parse(body: bytes) -> Request | ScoreRequest:
    """Return the request in a body, of either kind. Raises InvalidRequest."""
    return ScoreRequest(**read_score(body)) if "text" in document(body) else Request(**read(body))


def checked(given: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the given fields that are not null, as arguments of a request.

    Raises:
        InvalidRequest: A field is unknown, or its value is not accepted.
    """
    if len(given) > MOST_FIELDS:
        raise InvalidRequest(f"The body has {len(given):,} fields; there are only {', '.join(fields)}.")
    problems = {}
    for name, value in given.items():
        if name not in fields:
            problems[_shown(name)] = f"is not a field of this request; there are {', '.join(fields)}"
        elif value is not None and (problem := fields[name].kind.problem(value)):
            problems[name] = problem
    if problems:
        raise InvalidRequest.of_fields(problems)
    return {name: fields[name].kind.read(value) for name, value in given.items() if value is not None}


def document(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, with all numbers as floats.

    Raises:
        InvalidRequest: The body is not a JSON object in UTF-8.
    """
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
        found = json.loads(
            text, parse_int=float, parse_constant=_refuse_constant, object_pairs_hook=_once_each
        )
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deep.") from None
    if not isinstance(found, dict):
        raise InvalidRequest('The body must be a JSON object, for example {"words": 100}.')
    return found


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


def _shown(name: str) -> str:
    """Return a field's name, short, and with halves of surrogate pairs escaped for logs."""
    return name[:LONGEST_NAME_SHOWN].encode("utf-8", "backslashreplace").decode()[:LONGEST_NAME_SHOWN]
