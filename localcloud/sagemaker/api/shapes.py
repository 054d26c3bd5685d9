"""Validation of requests, and serialization of responses, by botocore's model of a service.

`request` reads an operation's input from a JSON document or refuses it as AWS does: SerializationException
for wrong JSON types, and one ValidationException that lists every broken constraint, in AWS's wording.
`document` turns a result into JSON by the output's shape.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

import botocore.session
from botocore.model import (
    ListShape,
    MapShape,
    OperationModel,
    ServiceModel,
    Shape,
    StringShape,
    StructureShape,
)

from localcloud.sagemaker.core.errors import SerializationError, ValidationError

# The models' patterns are Java's. These parts do not exist in Python's `re`.
_JAVA_CLASSES = {
    r"\p{Alnum}": "a-zA-Z0-9",
    # These two stand alone in the models; all others stand in a character class.
    r"\p{ASCII}": r"[\x00-\x7F]",
    r"\p{Print}": "[ -~]",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",  # surrogate pairs
}
_JAVA_CATEGORY = re.compile(r"\\p\{([A-Z])\}")
_JAVA_END = re.compile(r"\$\{\d+,\d+\}")  # a repeated end of input means the end
_ASSIGNED = (range(0x40000), range(0xE0000, 0xE0200))
"""The ranges in which Unicode assigns characters, without private use."""


@cache
def service_model(service: str = "sagemaker") -> ServiceModel:
    """Return botocore's model of a service, by botocore's name of the service."""
    return botocore.session.get_session().get_service_model(service)


@cache
def operation_model(name: str, service: str = "sagemaker") -> OperationModel:
    """Return the model of one operation; raise OperationNotFoundError if the service does not have it."""
    return service_model(service).operation_model(name)


def output_members(operation: str) -> set[str]:
    """Return the names of the members in an operation's response."""
    shape = operation_model(operation).output_shape
    return set(shape.members) if shape else set()


def request(operation: OperationModel, body: Any) -> dict[str, Any]:
    """Return an operation's input from its JSON document, with timestamps as datetimes and without nulls.

    Raises:
        SerializationError: A value has the wrong JSON type.
        ValidationError: A member is unknown or a constraint is broken.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    value: dict[str, Any] = _read(shape, body, "")
    violations = list(_violations(shape, value, ""))
    if violations:
        count = len(violations)
        raise ValidationError(
            f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(violations)}"
        )
    return value


def document(shape: Shape, value: Any) -> Any:
    """Return a value as the JSON of its shape: members without a value left out, times in epoch seconds."""
    if isinstance(shape, StructureShape):
        return {
            name: document(shape.members[name], member)
            for name, member in value.items()
            if member is not None
        }
    if isinstance(shape, ListShape):
        return [document(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: document(shape.value, item) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return round(value.timestamp(), 3)
    return value


def _read(shape: Shape, value: Any, path: str) -> Any:
    if isinstance(shape, StructureShape):
        return _read_structure(shape, value, path)
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            raise SerializationError("Expected list or null")
        return [_read(shape.member, item, path) for item in value]
    if isinstance(shape, MapShape):
        if not isinstance(value, dict):
            raise SerializationError("Expected map or null")
        return {key: _read(shape.value, item, path) for key, item in value.items()}
    return _read_scalar(shape, value)


def _read_structure(shape: StructureShape, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SerializationError("Expected map or null")
    for name in value:
        if name not in shape.members:
            known = ", ".join(shape.members)
            raise ValidationError(
                f'Unknown parameter in {path or "input"}: "{name}", must be one of: {known}'
            )
    return {
        name: _read(shape.members[name], member, f"{path}.{name}" if path else name)
        for name, member in value.items()
        if member is not None
    }


def _read_scalar(shape: Shape, value: Any) -> Any:
    kind = shape.type_name
    if isinstance(value, list):
        raise SerializationError("Start of list found where not expected")
    if isinstance(value, dict):
        raise SerializationError("Start of structure or map found where not expected.")
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind in ("integer", "long") and int(value) == value:
            return int(value)
        if kind in ("float", "double"):
            return float(value)
        if kind == "timestamp":
            return datetime.fromtimestamp(value, UTC)
    raise SerializationError(f"{_token(value)} can not be converted to {_JAVA_TYPES[kind]}")


_JAVA_TYPES = {
    "string": "a String",
    "boolean": "a Boolean",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "timestamp": "a Date",
}


def _token(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    if isinstance(value, str):
        return "STRING_VALUE"
    return "NULL_VALUE" if value is None else "NUMBER_VALUE"


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Yield every constraint that the value or a nested value breaks, in AWS's wording."""
    for constraint in _broken(shape, value):
        yield f"Value '{_java(value)}' at '{path}' failed to satisfy constraint: {constraint}"
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if name not in value:
                at = _step(path, name)
                yield f"Value null at '{at}' failed to satisfy constraint: Member must not be null"
        for name, member in value.items():
            yield from _violations(shape.members[name], member, _step(path, name))
    elif isinstance(shape, ListShape):
        yield from _members(shape.member, "Member", value, dict(enumerate(value, 1)), path)
    elif isinstance(shape, MapShape):
        yield from _members(shape.key, "Map keys", value, dict.fromkeys(value, ""), path, keys=True)
        yield from _members(shape.value, "Map value", value, value, path)


def _members(
    shape: Shape, subject: str, whole: Any, items: dict[Any, Any], path: str, *, keys: bool = False
) -> Iterator[str]:
    """Yield the broken constraints of a collection's items.

    Scalar items are reported once, at the collection, with all their constraints. Structures are reported at
    their own path.
    """
    if isinstance(shape, StructureShape | ListShape | MapShape):
        for key, item in items.items():
            yield from _violations(shape, item, f"{path}.{key}.member")
    elif any(_broken(shape, key if keys else item) for key, item in items.items()):
        constraints = ", ".join(_constraints(shape))
        yield (
            f"Value '{_java(whole)}' at '{path}' failed to satisfy constraint: "
            f"{subject} must satisfy constraint: [{constraints}]"
        )


def _broken(shape: Shape, value: Any) -> list[str]:
    traits = shape.metadata
    broken = []
    if isinstance(shape, StringShape | ListShape | MapShape):
        if len(value) > traits.get("max", len(value)):
            broken.append(f"Member must have length less than or equal to {traits['max']}")
        if len(value) < traits.get("min", 0):
            broken.append(f"Member must have length greater than or equal to {traits['min']}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value > traits.get("max", value):
            broken.append(f"Member must have value less than or equal to {traits['max']}")
        if value < traits.get("min", value):
            broken.append(f"Member must have value greater than or equal to {traits['min']}")
    if isinstance(value, str):
        pattern = traits.get("pattern")
        if pattern and not compiled(pattern).fullmatch(value):
            broken.append(f"Member must satisfy regular expression pattern: {pattern}")
        enum = traits.get("enum")
        if enum and value not in enum:
            broken.append(f"Member must satisfy enum value set: [{', '.join(enum)}]")
    return broken


def _constraints(shape: Shape) -> list[str]:
    traits = shape.metadata
    measure = "length" if isinstance(shape, StringShape) else "value"
    constraints = []
    if "max" in traits:
        constraints.append(f"Member must have {measure} less than or equal to {traits['max']}")
    if "min" in traits:
        constraints.append(f"Member must have {measure} greater than or equal to {traits['min']}")
    if "pattern" in traits:
        constraints.append(f"Member must satisfy regular expression pattern: {traits['pattern']}")
    if "enum" in traits:
        constraints.append(f"Member must satisfy enum value set: [{', '.join(traits['enum'])}]")
    return [*constraints, "Member must not be null"]


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a model's Java pattern, compiled for Python."""
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    pattern = _JAVA_END.sub("$", pattern)
    return re.compile(_JAVA_CATEGORY.sub(lambda category: _ranges()[category[1]], pattern))


@cache
def _ranges() -> dict[str, str]:
    """Return the characters of each Unicode general category, by letter, as ranges of a character class."""
    ranges: dict[str, list[list[int]]] = {}
    for code in chain(*_ASSIGNED):
        found = ranges.setdefault(unicodedata.category(chr(code))[0], [])
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return {
        category: "".join(rf"\U{first:08X}-\U{last:08X}" for first, last in found)
        for category, found in ranges.items()
    }


def _step(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _java(value: Any) -> str:
    """Return a value as Java prints it, because AWS's messages show it that way."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_java, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={_java(item)}' for key, item in value.items())}}}"
    return str(value)
