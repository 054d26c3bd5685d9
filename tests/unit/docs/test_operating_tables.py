"""What docs/operating.md and the README say of parameters, inputs and messages is what the code has."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from contracts.report import Report
from contracts.request import ExecutionInput
from tests.unit.docs.tables import DOCS, rows
from tests.unit.template.conftest import PROJECT, source

README = PROJECT / "README.md"


def test_the_parameters_are_the_templates_and_have_its_defaults() -> None:
    told = {row["parameter"].strip("`"): row["default"] for row in rows("operating.md", "parameter")}
    defaults = {name: str(parameter["Default"]) for name, parameter in source()["Parameters"].items()}
    assert told == {name: defaults.get(name) for name in told}


def test_the_fields_of_the_parameters_are_the_inputs() -> None:
    for row in rows("operating.md", "field of the input"):
        for field in re.findall(r"`([a-z_.]+)`", row["field of the input"]):
            section, _, name = field.partition(".")
            model = ExecutionInput.model_fields[section]
            assert not name or name in model.annotation.model_fields, field  # type: ignore[union-attr]


@pytest.mark.parametrize("page", [README, DOCS / "operating.md"], ids=lambda page: page.name)
def test_every_input_that_is_shown_is_taken(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    inputs = [block for block in blocks if isinstance(block.get("dataset"), str)]
    if page.name == "operating.md":
        column = "the execution's input"
        inputs += [json.loads(row[column].strip("`")) for row in rows(page.name, column)]
    assert inputs
    for each in inputs:
        ExecutionInput.model_validate(each)


def test_every_message_is_told_of() -> None:
    told = {row["`event`"].strip("`") for row in rows("operating.md", "`event`")}
    assert told >= {*get_args(Report.model_fields["event"].annotation), "started", "swept"}
