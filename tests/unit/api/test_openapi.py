"""The API does what its OpenAPI document says, and the document is that of the code."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

import app as api
from request_body import GENERATE, SCORE
from tests.unit.api.model_endpoint import ServedApi

PROJECT = Path(api.__file__).parent.parent.parent
DOCUMENT: dict[str, Any] = json.loads((PROJECT / "lexline" / "openapi.json").read_text(encoding="utf-8"))
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]
OPERATIONS = [(path, method) for path, operations in DOCUMENT["paths"].items() for method in operations]


def test_the_document_is_up_to_date() -> None:
    check = [sys.executable, PROJECT / "scripts" / "write_openapi.py", "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_document_has_every_route_and_field() -> None:
    routes = {(path, method.lower()) for path, methods in api.app.routes.items() for method in methods}
    assert {*OPERATIONS} == {(path, method) for path, method in routes if method != "head"}
    properties = DOCUMENT["components"]["schemas"]
    assert properties["Generate"]["properties"].keys() == GENERATE.keys()
    assert properties["Score"]["properties"].keys() == SCORE.keys()


def test_the_command_has_every_field_of_the_document() -> None:
    source = (PROJECT / "lexline" / "commands" / "generate.py").read_text(encoding="utf-8")
    options = set(re.findall(r"^    (\w+): Annotated", source, re.MULTILINE))
    assert options - {"curl"} == GENERATE.keys()


def test_the_command_score_has_every_field_of_the_document() -> None:
    source = (PROJECT / "lexline" / "commands" / "score.py").read_text(encoding="utf-8")
    options = set(re.findall(r"^    (\w+): Annotated", source, re.MULTILINE))
    # A file has the text. The command prints which words are least expected, and no alternatives to them.
    assert options == SCORE.keys() - {"text", "alternatives"} | {"file"}


def with_short_texts(document: Any, mode: GenerationMode) -> Any:
    """Return the document whose texts have 50 characters, or any number if they are to be wrong.

    Long ones would take seconds. test_request_body.py tests the limits.
    """
    if isinstance(document, list):
        return [with_short_texts(each, mode) for each in document]
    if not isinstance(document, dict):
        return document
    short = {name: with_short_texts(value, mode) for name, value in document.items()}
    if short.pop("maxLength", 0) and mode is GenerationMode.POSITIVE:
        short["maxLength"] = 50
    return short


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_api_keeps_to_the_document(
    served_api: ServedApi, path: str, method: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(with_short_texts(DOCUMENT, mode))
    schema.app = served_api
    operation = schema[path][method.upper()]
    if mode is GenerationMode.NEGATIVE and not operation.body:
        pytest.skip("There is nothing to get wrong.")

    @settings(
        max_examples=10 if operation.body else 1,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if isinstance(case.body, bytes) and not case.body.strip():
            return  # An empty body leaves out all fields.
        if isinstance(case.body, dict):
            # Fewer words than a test has time for.
            for name in {"words", "tokens", "max_tokens", "n"} & case.body.keys():
                value = case.body[name]
                if isinstance(value, int) and value > 5 and mode is GenerationMode.POSITIVE:
                    case.body[name] = 5
        response = case.call(base_url="http://localhost")
        case.validate_response(response, checks=CHECKS)

    run()
