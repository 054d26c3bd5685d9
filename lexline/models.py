"""What `lexline models` prints: the registered models, with what serves now and what served before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline import terminal, wording
from lexline.registry import Model
from lexline.run_ids import id_in
from lexline.serving import Serving

_NOW, _BEFORE = "now", "before"
_APPROVALS = {"Approved": "approved", "Rejected": "rejected", "PendingManualApproval": "waits for approval"}
_SHORT_COMMIT = 7


def show(console: Console, models: Sequence[Model], live: Serving | None) -> None:
    """Prints a table, newest first; below it what its figures are, and why models were refused."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    commits = any(model.commit for model in models)
    for column in ("Version", "Run", "Dataset", "Trained", "Perplexity", "Compared", "Approval", "Serves"):
        # On a narrow terminal dates and datasets' names fold, but not what is typed or compared.
        folds = column in ("Dataset", "Trained")
        table.add_column(column, no_wrap=not folds, overflow="fold", min_width=10 if folds else None)
    if commits:
        table.add_column("Commit", no_wrap=True)
    for model in models:
        table.add_row(
            str(model.version),
            id_in(model.name),
            escape(model.dataset),
            wording.local_time(model.trained),
            "" if model.test_perplexity is None else wording.perplexity(model.test_perplexity),
            _comparison(model),
            _APPROVALS.get(model.approval, model.approval),
            f"[bold green]{_mark(model, live)}[/]",
            *([model.commit[:_SHORT_COMMIT]] if commits else []),
        )
    console.print(table)
    notes = [
        f"Version {model.version} {_APPROVALS.get(model.approval, model.approval)}: {model.reason}"
        for model in models
        if not model.approved
    ]
    if any(model.champion for model in models):
        notes.insert(
            0,
            "Perplexity is on the test text of each model's own data. Compared are, on the very same words, "
            "the model and the one that served when it was trained.",
        )
    if notes:
        console.print()
    for note in notes:
        terminal.prose(console, note)


def as_json(models: Sequence[Model], live: Serving | None) -> str:
    """The same for programs: a list of objects, newest first."""
    return json.dumps([_document(model, live) for model in models], indent=2)


def _document(model: Model, live: Serving | None) -> Mapping[str, Any]:
    mark = _mark(model, live)
    return {
        **asdict(model),
        "trained": model.trained.isoformat(),
        "approved": model.approved,
        "serves": mark == _NOW,
        "served_before": mark == _BEFORE,
    }


def _mark(model: Model, live: Serving | None) -> str:
    if live is None:
        return ""
    if live.answers and model.name == live.model:
        return _NOW
    return _BEFORE if model.name == live.previous else ""


def _comparison(model: Model) -> str:
    """The model's perplexity and its champion's, over the same words of the same text."""
    if not model.champion:
        return ""
    if model.challenger_perplexity is None or model.champion_perplexity is None:
        return "not comparable"
    mine, theirs = map(wording.perplexity, (model.challenger_perplexity, model.champion_perplexity))
    return f"{mine} to {theirs}"
