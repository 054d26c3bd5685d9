"""Sentences for people: validation errors, and texts cut to a length."""

from __future__ import annotations

from pydantic import ValidationError

# An error goes into the execution's report several times, and that has to fit into 262,144 bytes.
_LONGEST_SENTENCE = 4000
_LONGEST_VALUE = 200


def sentence(error: ValidationError) -> str:
    """Each wrong field by its path, with what is wrong about it; long values and long lists are cut."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        field = cut(".".join(str(part) for part in problem["loc"]), _LONGEST_VALUE)
        message = problem["msg"].removeprefix("Value error, ")
        value = cut(repr(problem["input"]), _LONGEST_VALUE)
        given = "" if isinstance(problem["input"], dict) else f" (given: {value})"
        problems.append(f"{field}: {message}{given}" if field else message)
    return cut("; ".join(problems), _LONGEST_SENTENCE)


def cut(text: str, longest: int) -> str:
    """The text in at most so many characters, an ellipsis where something is left out."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
