"""Sentences for people: validation errors, and texts cut to a length."""

from pydantic import ValidationError

# An error appears in the execution's output several times, and the output has at most 262,144 bytes.
_LONGEST_SENTENCE = 4000
_LONGEST_VALUE = 200


def sentence(error: ValidationError) -> str:
    """Return each wrong field by its path, with what is wrong with it. Cut long values and long lists."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        field = cut(".".join(str(part) for part in problem["loc"]), _LONGEST_VALUE)
        message = problem["msg"].removeprefix("Value error, ")
        value = cut(repr(problem["input"]), _LONGEST_VALUE)
        given = "" if isinstance(problem["input"], dict) else f" (given: {value})"
        problems.append(f"{field}: {message}{given}" if field else message)
    return cut("; ".join(problems), _LONGEST_SENTENCE)


def cut(text: str, longest: int) -> str:
    """Return the text with at most `longest` characters; an ellipsis shows that it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
