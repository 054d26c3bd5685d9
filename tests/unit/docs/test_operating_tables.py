"""docs/operating.md agrees with the code about parameters, requests and messages."""

import json
import re
from typing import get_args

from contracts.report import Report
from contracts.request import ExecutionInput
from tests.unit.docs.tables import DOCS, rows
from tests.unit.template.conftest import source


def test_the_parameters_have_the_templates_defaults() -> None:
    documented = {row["parameter"].strip("`"): row["default"] for row in rows("operating.md", "parameter")}
    defaults = {name: str(parameter["Default"]) for name, parameter in source()["Parameters"].items()}
    assert documented == {name: defaults.get(name) for name in documented}


def test_the_fields_of_the_parameters_are_fields_of_the_request() -> None:
    for row in rows("operating.md", "field of the input"):
        for field in re.findall(r"`([a-z_.]+)`", row["field of the input"]):
            section, _, name = field.partition(".")
            model = ExecutionInput.model_fields[section]
            assert not name or name in model.annotation.model_fields, field  # type: ignore[union-attr]


def test_every_request_in_the_page_is_valid() -> None:
    text = (DOCS / "operating.md").read_text(encoding="utf-8")
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    column = "the execution's input"
    requests = [block for block in blocks if isinstance(block.get("dataset"), str)]
    requests += [json.loads(row[column].strip("`")) for row in rows("operating.md", column)]
    assert requests
    for request in requests:
        ExecutionInput.model_validate(request)


def test_every_message_is_documented() -> None:
    documented = {row["`event`"].strip("`") for row in rows("operating.md", "`event`")}
    assert documented >= {*get_args(Report.model_fields["event"].annotation), "started", "swept"}
