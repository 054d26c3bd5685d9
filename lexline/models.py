"""What `lexline models` prints: the registered models, with what serves now and what served before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline import runs, wording
from lexline.registry import Model
from lexline.serving import Serving

_SERVES, _SERVED_BEFORE = "serves now", "served before"
_APPROVALS = {"Approved": "approved", "Rejected": "rejected", "PendingManualApproval": "waits for approval"}
_SHORT_COMMIT = 7


def show(console: Console, models: Sequence[Model], live: Serving | None) -> None:
    """Prints a table, newest first; below it what its figures are, and why models were refused."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    commits = any(model.commit for model in models)
    for column in ("Version", "Run", "Dataset", "Trained", "Perplexity", "Against champion", "Status"):
        table.add_column(column, no_wrap=True)
    if commits:
        table.add_column("Commit", no_wrap=True)
    for model in models:
        status = _APPROVALS.get(model.approval, model.approval)
        mark = _mark(model, live)
        table.add_row(
            str(model.version),
            runs.id_in(model.name),
            escape(model.dataset),
            wording.local_time(model.trained),
            "" if model.test_perplexity is None else wording.perplexity(model.test_perplexity),
            _comparison(model),
            f"{status}, [bold green]{mark}[/]" if mark else status,
            *([model.commit[:_SHORT_COMMIT]] if commits else []),
        )
    console.print(table)
    console.print()
    if any(model.champion for model in models):
        console.print(
            "Perplexity is on the test text of each model's own data. Against champion: on the very same "
            "words, the model's and then that of the model which served when it was trained."
        )
    refused = [model for model in models if not model.approved]
    for model in refused:
        reason = model.reason or "nobody said why"
        status = _APPROVALS.get(model.approval, model.approval)
        console.print(f"Version {model.version} is {status}: {reason}", markup=False, soft_wrap=True)


def as_json(models: Sequence[Model], live: Serving | None) -> str:
    """The same for programs: a list of objects, newest first."""
    return json.dumps([_document(model, live) for model in models], indent=2, default=str)


def _document(model: Model, live: Serving | None) -> Mapping[str, Any]:
    mark = _mark(model, live)
    return {
        **asdict(model),
        "trained": model.trained.isoformat(),
        "approved": model.approved,
        "serves": mark == _SERVES,
        "served_before": mark == _SERVED_BEFORE,
    }


def _mark(model: Model, live: Serving | None) -> str:
    if live is None:
        return ""
    if live.answers and model.name == live.model:
        return _SERVES
    return _SERVED_BEFORE if model.name == live.previous else ""


def _comparison(model: Model) -> str:
    """The model's perplexity and its champion's, over the same words of the same text."""
    if not model.champion:
        return ""
    if model.challenger_perplexity is None or model.champion_perplexity is None:
        return "not comparable"
    mine, theirs = map(wording.perplexity, (model.challenger_perplexity, model.champion_perplexity))
    return f"{mine} to {theirs}"
