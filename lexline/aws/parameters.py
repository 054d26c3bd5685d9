"""The stack's parameters: read them from the command line, and check them against template.yaml."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lexline.core.errors import UsageError


def parse(assignments: Sequence[str], where: str = "--parameter") -> dict[str, str]:
    """Return the stack parameters in a list of NAME=VALUE.

    Args:
        assignments: The list.
        where: What the user gave them with, for errors.

    Raises:
        UsageError: One of them has another form, or a parameter is given twice.
    """
    parameters: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.isalnum():
            raise UsageError(
                f"{where} {assignment} is invalid.", f"Give NAME=VALUE, for example {where} Epochs=6."
            )
        if name in parameters:
            raise UsageError(
                f"{where} {name} is given twice, as {parameters[name]} and as {value}.", "Give it once."
            )
        parameters[name] = value
    return parameters


def check(parameters: Mapping[str, str], project: Path) -> None:
    """Check names and values as CloudFormation would, which does it only after minutes of building.

    Args:
        parameters: Values by name.
        project: The folder with template.yaml.

    Raises:
        UsageError: The template has no such parameter, or does not allow the value.
    """
    if not parameters:
        return
    declared = _declared(project / "template.yaml")
    for name, value in parameters.items():
        if name not in declared:
            everything = f"template.yaml describes the parameters: {', '.join(declared)}."
            raise UsageError(f"The stack has no parameter {name}.", _suggestion(name, declared) or everything)
        allowed = [str(each) for each in declared[name].get("AllowedValues", [])]
        if not _allows(declared[name], allowed, value):
            rule = declared[name].get("ConstraintDescription") or f"one of {', '.join(allowed)}"
            hint = f"{_suggestion(value, allowed)} Give {rule}.".strip()
            raise UsageError(f'--parameter {name}="{value}" is invalid.', hint)


def _declared(template: Path) -> dict[str, dict[str, Any]]:
    # Import it here, because most commands do not need it.
    import yaml

    class Loader(yaml.CSafeLoader):
        """A loader that reads CloudFormation's tags, such as !Sub, as nothing: parameters have none."""

    Loader.add_multi_constructor("!", lambda loader, tag, node: None)
    with template.open(encoding="utf-8") as file:
        declared: dict[str, dict[str, Any]] = yaml.load(file, Loader)["Parameters"]  # noqa: S506 (a safe loader)
    return declared


def _allows(declared: Mapping[str, Any], allowed: Sequence[str], value: str) -> bool:
    if allowed:
        return value in allowed
    if declared["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            return False
        return bool(declared.get("MinValue", number) <= number <= declared.get("MaxValue", number))
    if not declared.get("MinLength", 0) <= len(value) <= declared.get("MaxLength", len(value)):
        return False
    return re.fullmatch(declared.get("AllowedPattern", ".*"), value, re.DOTALL) is not None


def _suggestion(given: str, names: Iterable[str]) -> str:
    """Return a question with the name that is most like the given one, or ""."""
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), by_lower, 1)
    return f"Did you mean {by_lower[near[0]]}?" if near else ""
