"""Every line that a handler logs, metrics among them, says what it belongs to."""

import contextlib
import importlib
import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import entry_point
from core.errors import PipelineError
from core.logging import logger
from steps import gather, plan

RUN = "lexline--sotu-0123456789ab"
ACCOUNT = "eu-west-1:111122223333"
EXECUTION = f"arn:aws:states:{ACCOUNT}:execution:lexline-pipeline:first"
REQUEST = "52fdfc07-2182-154f-163f-5f0f9a621d72"
CLOUDFORMATION = "2f6f2f1a-7d5a-4d0e-9f5f-0b3c8f1f2b11"

STEPS = {
    *("gather", "acquire", "prepare", "source", "champion", "train", "evaluate", "register", "find_model"),
    *("create_model", "deploy", "smoke_test", "finish", "teardown", "compensate"),
}
"""They are given a run. What else they lack here makes them say so, in a line of the log."""
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "plan": ({"execution": {"id": EXECUTION}}, EXECUTION),
    "report": ({"execution": {"id": EXECUTION}, "run": None}, EXECUTION),
    "execution_ended": ({"detail": {"executionArn": EXECUTION}}, EXECUTION),
    "callback": ({"resources": [f"arn:aws:sagemaker:{ACCOUNT}:training-job/{RUN}"]}, RUN),
    "sweep": ({}, REQUEST),
    "alarm": ({}, REQUEST),
    "stack_deletion": (
        {
            "RequestType": "Create",
            "RequestId": CLOUDFORMATION,
            "ResponseURL": "https://example.com/answer",
            "LogicalResourceId": "Leftovers",
            "StackId": "arn",
        },
        CLOUDFORMATION,
    ),
}
FIRST_CALLS = {
    "callback": ("dynamodb", "get_item"),
    "sweep": ("dynamodb", "get_item"),
    "ended": ("stepfunctions", "describe_execution"),
}
"""What those handlers that find nothing wrong with their event ask of AWS first."""
PIPELINE = Path(entry_point.__file__).parent


def module_of(name: str) -> str:
    """The module of a handler, by the name of its step or event."""
    return f"steps.{name}" if (PIPELINE / "steps" / f"{name}.py").exists() else f"events.{name}"


EVENTS = {**{name: ({"run": {"name": RUN}}, RUN) for name in STEPS}, **OTHERS}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[Any]]:
    """logged(): the lines written so far, which are all JSON."""
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    return lambda: [json.loads(line) for line in (log.getvalue() + capsys.readouterr().out).splitlines()]


def test_every_handler_is_looked_at() -> None:
    entry_points = [*PIPELINE.glob("steps/*.py"), *PIPELINE.glob("events/*.py")]
    handlers = {file.stem for file in entry_points if "\ndef handler(" in file.read_text(encoding="utf-8")}
    assert handlers == EVENTS.keys()


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_line_of_a_handler_says_what_it_belongs_to(
    name: str, stubbed: Any, context: Any, logged: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    event, expected = EVENTS[name]
    if name in FIRST_CALLS:
        stubbed.refuses(*FIRST_CALLS[name], "AccessDeniedException", "not authorized")
    # CloudFormation, which takes any answer.
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: contextlib.nullcontext())
    with contextlib.suppress(PipelineError):
        importlib.import_module(module_of(name)).handler(event, context)
    lines = logged()
    assert lines
    assert {line.get("correlation_id") for line in lines} == {expected}


def test_plans_lines_carry_the_run_as_soon_as_it_has_a_name(
    stubbed: Any, context: Any, logged: Callable[[], list[Any]]
) -> None:
    execution = {"id": EXECUTION, "started": "2026-03-01T12:00:00Z"}
    run = plan.handler({"execution": execution, "request": {"dataset": "sotu"}}, context)
    assert {line["correlation_id"] for line in logged()} == {run["name"]}


def test_the_next_invocation_does_not_inherit_an_id(context: Any, logged: Callable[[], list[Any]]) -> None:
    for event in ({"run": {"name": RUN}}, {}):
        with contextlib.suppress(PipelineError):
            gather.handler(event, context)
    ids = [line["correlation_id"] for line in logged() if "message" in line]
    assert ids == [RUN, REQUEST]
