"""The three things to do after a run."""

import io
import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command

from lexline.aws.watcher import Snapshot
from lexline.cli import app
from lexline.display import next_steps, terminal
from tests.unit.lexline.display.test_result import DEPLOYED, FAILED, FAILURE, REJECTED, SKIPPED, UNCHANGED
from tests.unit.lexline.pipeline import Report
from tests.unit.lexline.samples import ONE, RUN, SUCCEEDED

FIRST = {"finished": {"scales": False, "teardown_at": None, "replaced": None}}
LONGER = {"hyperparameters": {"epochs": 6}}
ENDINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a model replaced another": ({}, ["generate", f"report {RUN.id} --save report.html", "rollback"]),
    "a first model": (FIRST, ["generate", f"report {RUN.id} --save report.html", "run FILE --dataset sotu"]),
    "a registered model": ({**DEPLOYED, **FIRST}, ["generate", "cost", "models"]),
    "a torn-down endpoint": (
        {"removed": ["endpoint/lexline"]},
        ["status", f"report {RUN.id} --save report.html", "run FILE --dataset sotu"],
    ),
    "a worse model": (
        {**REJECTED, **LONGER},
        [f"report {RUN.id} --save report.html", "run --dataset sotu --set epochs=12", "deploy 3 --force"],
    ),
    "a worse model of unknown length": (
        REJECTED,
        [f"report {RUN.id} --save report.html", "run --dataset sotu --force", "deploy 3 --force"],
    ),
    "nothing has changed": (UNCHANGED, ["generate", "datasets sotu", "run --dataset sotu --force"]),
    "it joined another": (
        {**SKIPPED, "joined": ONE},
        ["status --follow 111111111111", "status", "datasets"],
    ),
    "nothing to do": (SKIPPED, ["status", "datasets", "run FILE"]),
    "training failed": (
        {**FAILED, "error": {**FAILURE, "step": "Train"}, "page": "s3://b/r.html"},
        [f"logs {RUN.id}", f"report {RUN.id} --save report.html", "run --dataset sotu"],
    ),
    "another step failed": (
        {**FAILED, "dataset": None},
        [f"status {RUN.id}", "logs --source functions", "status"],
    ),
}


def after(changes: dict[str, Any], request: Any = None) -> list[next_steps.Step]:
    report = Report.model_validate({**SUCCEEDED, **changes})
    return next_steps.after(Snapshot(RUN, request, "SUCCEEDED", report=json.loads(report.model_dump_json())))


@pytest.mark.parametrize("name", ENDINGS)
def test_each_ending_has_three_commands_that_exist(name: str) -> None:
    changes, expected = ENDINGS[name]
    steps = after(changes)
    assert [command for command, _ in steps] == [f"lexline {command}" for command in expected]
    assert all(purpose for _, purpose in steps)
    for command, _ in steps:
        name, *arguments = shlex.split(command)[1:]
        get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


def test_a_dataset_that_a_failed_run_did_not_prepare_is_the_requests() -> None:
    (*_, (command, _)) = after({**FAILED, "dataset": None}, {"dataset": "my texts"})
    assert command == "lexline run --dataset 'my texts'"


@pytest.mark.parametrize(
    "report", [None, {"status": "Rejected", "registered": 3}, {"status": "Succeeded", "dataset": 3}]
)
def test_a_run_without_a_readable_report_can_be_looked_at(report: Any) -> None:
    steps = next_steps.after(Snapshot(RUN, None, "ABORTED", report=report))
    assert steps[0][0] == f"lexline status {RUN.id}"


def test_commands_name_the_stack_and_purposes_are_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(terminal.stack_options, "--stack", "two")
    output = io.StringIO()
    snapshot = Snapshot(RUN, None, "SUCCEEDED", report=SUCCEEDED)
    next_steps.show(Console(file=output, width=200), replace(snapshot))
    first, *lines = output.getvalue().strip().splitlines()
    assert (first, len(lines)) == ("Next:", 3)
    assert lines[0].startswith("  lexline generate --stack two  ")
    ends = {line.index(purpose) for line, (_, purpose) in zip(lines, next_steps.after(snapshot), strict=True)}
    assert len(ends) == 1
