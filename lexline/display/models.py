"""The table of models, and the same list as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape

from lexline.aws.endpoint import Endpoint
from lexline.aws.models import Model
from lexline.aws.runs import id_in
from lexline.display import formatting, terminal

NOW, BEFORE = "now", "before"
_SHORT_COMMIT = 7


def show(console: Console, models: Sequence[Model], endpoint: Endpoint | None) -> None:
    """Print a table of models, and below it what the figures mean and why models were not approved."""
    table = terminal.table()
    commits = any(model.commit for model in models)
    for column in (
        "Version",
        "Run",
        "Dataset",
        "Trained",
        "Perplexity",
        "Unknown",
        "Compared",
        "Approval",
        "Serves",
    ):
        # On a narrow terminal, dates, comparisons and dataset names may wrap, but no value to type.
        folds = column in ("Dataset", "Trained", "Compared")
        table.add_column(column, no_wrap=not folds, overflow="fold", min_width=10 if folds else None)
    if commits:
        table.add_column("Commit", no_wrap=True)
    for model in models:
        table.add_row(
            str(model.version),
            id_in(model.name),
            escape(model.dataset),
            formatting.local_time(model.trained),
            "" if model.test_perplexity is None else formatting.perplexity(model.test_perplexity),
            "" if model.test_unknown_share is None else f"{model.test_unknown_share:.1%}",
            _comparison(model),
            model.approval_word,
            f"[bold green]{serves(model, endpoint)}[/]",
            *([model.commit[:_SHORT_COMMIT]] if commits else []),
        )
    terminal.print_table(console, table)
    notes = [
        f"Version {model.version} is {model.approval_word}: {model.reason}"
        for model in models
        if not model.approved
    ]
    if any(model.champion for model in models):
        notes.insert(
            0,
            "Perplexity is measured on the test text of the model's own dataset, of "
            "which Unknown is the share of words that the model does not know. Compared shows the "
            "perplexity of the model and of the one that served when it was trained, on the same text.",
        )
    if notes:
        console.print()
    for note in notes:
        terminal.prose(console, note)


def as_json(models: Sequence[Model], endpoint: Endpoint | None) -> str:
    """Return the models as a JSON list of objects, newest first."""
    documents = [
        {
            **asdict(model),
            "trained": model.trained.isoformat(),
            "approved": model.approved,
            "serves": serves(model, endpoint) == NOW,
            "served_before": serves(model, endpoint) == BEFORE,
        }
        for model in models
    ]
    return json.dumps(documents, indent=2)


def describe(model: Model) -> str:
    """Return a model in words: its name, version, age and test perplexity."""
    quality = (
        ""
        if model.test_perplexity is None
        else f", test perplexity {formatting.perplexity(model.test_perplexity)}"
        f"{formatting.unknown(model.test_unknown_share)}"
    )
    trained = formatting.local_time(model.trained)
    return f"{model.name} (version {model.version}, trained {trained}{quality})"


def serves(model: Model, endpoint: Endpoint | None) -> str:
    """Return "now" for the model that serves, "before" for the one that a rollback deploys, or ""."""
    if endpoint is None:
        return ""
    if endpoint.serves and model.name == endpoint.model:
        return NOW
    return BEFORE if model.name == endpoint.previous else ""


def _comparison(model: Model) -> str:
    if not model.champion:
        return ""
    if model.challenger_perplexity is None or model.champion_perplexity is None:
        return "not comparable"
    return " vs. ".join(map(formatting.perplexity, (model.challenger_perplexity, model.champion_perplexity)))
