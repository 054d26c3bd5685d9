"""What a user may want to do after a run, as commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from lexline.aws.reports import UNREADABLE
from lexline.aws.runs import id_in
from lexline.aws.watcher import Snapshot
from lexline.display import terminal

Step = tuple[str, str]
"""A command, and what it does."""


def show(console: Console, snapshot: Snapshot) -> None:
    """Print the three things that one would do next."""
    steps = after(snapshot)
    if not steps:
        return
    commands = [f"{command}{terminal.options(command)}" for command, _ in steps]
    width = max(map(len, commands))
    console.print("\nNext:")
    for command, (_, purpose) in zip(commands, steps, strict=True):
        console.print(terminal.plain(f"  {command:<{width}}  {purpose}"), markup=False)


def after(snapshot: Snapshot) -> list[Step]:
    """Return three commands with their purposes, those first that fit the run's result best."""
    report, run = snapshot.report or {}, snapshot.run.id
    look: Step = (f"lexline status {run}", "show the run's steps and result")
    try:
        status = report.get("status", "Failed")
        dataset = _dataset(report, snapshot.request)
        if status == "Succeeded":
            return _after_success(report, run, dataset)
        if status == "Rejected":
            return _after_rejection(report, run, dataset)
    except UNREADABLE:
        return [look]
    again: Step = (f"lexline run --dataset {dataset}", "try again when the cause is removed")
    if status == "Unchanged":
        return [
            ("lexline generate", "write a text with the model that serves"),
            (f"lexline datasets {dataset}", "list the files of the dataset"),
            (f"lexline run --dataset {dataset} --force", "train on them all the same"),
        ]
    if status == "Skipped":
        joined = report.get("joined")
        followed: Step = (f"lexline status --follow {id_in(str(joined))}", "follow the run that it joined")
        return [
            *([followed] if joined else []),
            ("lexline status", "show the model that serves and the runs"),
            ("lexline datasets", "list the datasets"),
            *([] if joined else [("lexline run FILE", "upload a text, and train on it")]),
        ]
    trained = (report.get("error") or {}).get("step") == "Train"
    return [
        (f"lexline logs {run}", "show the output of the training job") if trained else look,
        _save(run) if report.get("page") else ("lexline logs --source functions", "show the steps' logs"),
        again if dataset else ("lexline status", "show the model that serves and the runs"),
    ]


def _after_success(report: Mapping[str, Any], run: str, dataset: str) -> list[Step]:
    serves = report.get("endpoint") and not report.get("removed")
    replaced = (report.get("finished") or {}).get("replaced")
    more: Step = (
        (f"lexline run FILE --dataset {dataset}", "add a text to the dataset, and train on all of them")
        if dataset
        else ("lexline models", "list all models")
    )
    return [
        ("lexline generate", "write a text with the model")
        if serves
        else ("lexline status", "show what there is now"),
        _save(run) if report.get("page") else ("lexline cost", "show what the endpoint and the runs cost"),
        ("lexline rollback", "put the model that served before back") if serves and replaced else more,
    ]


def _after_rejection(report: Mapping[str, Any], run: str, dataset: str) -> list[Step]:
    version = (report.get("registered") or {}).get("version")
    epochs = (report.get("hyperparameters") or {}).get("epochs")
    longer = f" --set epochs={2 * epochs}" if isinstance(epochs, int) and epochs <= 500 else " --force"
    return [
        _save(run),
        (f"lexline run --dataset {dataset}{longer}", "train another model, for longer")
        if longer.startswith(" --set")
        else (f"lexline run --dataset {dataset}{longer}", "train another model"),
        (f"lexline deploy {version} --force", "deploy it anyway")
        if version
        else ("lexline models", "list all models"),
    ]


def _save(run: str) -> Step:
    return (f"lexline report {run} --save report.html", "save the report as a web page")


def _dataset(report: Mapping[str, Any], request: Any) -> str:
    named = (report.get("dataset") or {}).get("dataset")
    if not named and isinstance(request, dict):
        named = request.get("dataset")
    return shlex.quote(str(named)) if named else ""
