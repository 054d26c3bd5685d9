"""Sentences for people: validation errors, and texts cut to a length."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

# An error appears in the execution's output several times, and the output has at most 262,144 bytes.
_LONGEST_SENTENCE = 4000
_LONGEST_VALUE = 200

# The limit that was exceeded, by its name in pydantic's errors.
_LIMITS = {
    "expected": "be {}", "pattern": "match {}", "multiple_of": "be a multiple of {}",
    "gt": "be greater than {}", "ge": "be at least {}", "lt": "be less than {}", "le": "be at most {}",
    "min_length": "have a length of at least {}", "max_length": "have a length of at most {}",
}  # fmt: skip
# The type that was expected, by the first word in the name of pydantic's error.
_KINDS = {
    "bool": "true or false", "date": "a date", "datetime": "a time", "finite": "a finite number",
    "float": "a number", "int": "an integer", "json": "JSON", "list": "a list", "string": "a string",
    "timezone": "a time with its time zone",
}  # fmt: skip


def sentence(error: ValidationError, contract: type[BaseModel]) -> str:
    """Return each wrong field by its path, with what is wrong with it. Cut long values and long lists.

    Args:
        error: what the validation raised.
        contract: the model of the document, whose fields may be what was meant by unknown ones.
    """
    problems = []
    for problem in error.errors(include_url=False):
        field = cut(".".join(str(part) for part in problem["loc"]), _LONGEST_VALUE)
        message = _message(problem, contract)
        value = cut(repr(problem["input"]), _LONGEST_VALUE)
        given = "" if isinstance(problem["input"], dict) else f" (given: {value})"
        problems.append(f"{field}: {message}{given}" if field else message)
    return cut("; ".join(problems), _LONGEST_SENTENCE)


def _message(problem: ErrorDetails, contract: type[BaseModel]) -> str:
    """Return what is wrong with a field, in JSON's words: pydantic's own messages use Python's."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        near = get_close_matches(str(problem["loc"][-1]), _fields_beside(problem["loc"], contract), 1)
        return f"is not a field here; did you mean {near[0]}?" if near else "is not a field here"
    if kind == "value_error":
        return str(context["error"])
    limits = [_LIMITS[name].format(limit) for name, limit in context.items() if name in _LIMITS]
    return f"must {limits[0]}" if limits else f"must be {_KINDS.get(kind.partition('_')[0], 'an object')}"


def _fields_beside(path: tuple[int | str, ...], contract: type[BaseModel]) -> Iterable[str]:
    """Return the fields that are allowed in the object that holds the path's last field."""
    for part in path[:-1]:
        if field := contract.model_fields.get(str(part)):
            kinds = (field.annotation, *get_args(field.annotation))
            models = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
            contract = next(models, contract)
    return contract.model_fields


def cut(text: str, longest: int) -> str:
    """Return the text with at most `longest` characters; an ellipsis shows that it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
