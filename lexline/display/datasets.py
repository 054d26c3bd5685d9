"""Tables of datasets and of the files of one dataset."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from lexline.aws.datasets import Dataset, LastRun, Manifest
from lexline.display import formatting, terminal

_MOST_ROWS = 200
"""How many files of a dataset are shown."""


def show_all(console: Console, datasets: Sequence[Dataset]) -> None:
    """Print a table with a row for each dataset."""
    if not datasets:
        terminal.prose(
            console,
            "There are no datasets yet. `lexline run FILE` uploads a text, and trains a model on it.",
        )
        return
    table = terminal.table()
    for column in ("Dataset", "Files", "Size", "Words", "Left out", "Last run"):
        table.add_column(
            column, justify="right" if column in ("Files", "Size", "Words") else "left", overflow="fold"
        )
    for each in datasets:
        table.add_row(
            escape(terminal.plain(each.name)),
            f"{len(each.files):,}",
            formatting.size(each.size),
            f"{sum(each.manifest.words.values()):,}" if each.manifest else "",
            escape(terminal.plain(_left_out(each))),
            _last_run(each.last_run),
        )
    terminal.print_table(console, table)
    if any(each.unread for each in datasets):
        terminal.prose(console, "\nA file is not read yet if no run has prepared it since its upload.")
    terminal.prose(console, "\n`lexline datasets NAME` lists the files of a dataset.")


def show_one(console: Console, dataset: Dataset) -> None:
    """Print a table with a row for each file of a dataset, and for what was left out of its archives."""
    manifest = dataset.manifest
    summary = f"{formatting.counted(len(dataset.files), 'file')}, {formatting.size(dataset.size)}"
    if manifest:
        parts = [f"{words:,} words for {split}" for split, words in manifest.words.items()]
        summary += f". Run {manifest.run} read {', '.join(parts)}"
    console.print(terminal.plain(f"{dataset.name}: {summary}"), markup=False)
    if dataset.last_run:
        console.print(f"Last run: {_last_run(dataset.last_run)}", markup=False)
    console.print()
    table = terminal.table()
    for column in ("File", "Size", "Words", "Note"):
        table.add_column(column, justify="right" if column in ("Size", "Words") else "left", overflow="fold")
    rows = [*_rows(dataset)]
    for name, size, words, note in rows[:_MOST_ROWS]:
        table.add_row(escape(terminal.plain(name)), size, words, escape(terminal.plain(note)))
    terminal.print_table(console, table)
    if len(rows) > _MOST_ROWS:
        terminal.prose(
            console,
            f"\nand {len(rows) - _MOST_ROWS:,} more. `lexline datasets {dataset.name} --json` lists all.",
        )


def _rows(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Return name, size, words and note of each file. What needs attention comes first."""
    unread = {file.name for file in dataset.unread}
    manifest = dataset.manifest
    rows = []
    for file in dataset.files:
        size = formatting.size(file.size)
        if file.name in unread:
            rows.append((file.name, size, "", "not read yet"))
        elif manifest and file.name in manifest.left_out:
            rows.append((file.name, size, "", f"left out: {manifest.left_out[file.name]}"))
        elif manifest:
            rows.append((file.name, size, *_texts(manifest, file.name)))
    names = {file.name for file in dataset.files}
    inside = [
        (name, "", "", f"left out: {reason}")
        for name, reason in (manifest.left_out.items() if manifest else ())
        if name not in names and any(name.startswith(f"{each}/") for each in _parents(name) if each in names)
    ]
    return [*inside, *sorted(rows, key=lambda row: row[3] == "")]


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _texts(manifest: Manifest, name: str) -> tuple[str, str]:
    """Return the words and the notes of a file: of its only text, or of the texts in an archive."""
    if name in manifest.files:
        words, notes = manifest.files[name]
        return f"{words:,}", " ".join(map(formatting.sentence, notes))
    texts = [each for key, each in manifest.files.items() if key.startswith(f"{name}/")]
    notes = [note for _, each in texts for note in each]
    counted = f"{formatting.counted(len(texts), 'text')}." if texts else ""
    return f"{sum(words for words, _ in texts):,}", " ".join([counted, *map(formatting.sentence, notes[:3])])


def _left_out(dataset: Dataset) -> str:
    """Return in words what is not part of the corpus that was trained on, with the first reason."""
    parts = []
    manifest = dataset.manifest
    if manifest and manifest.left_out:
        name, reason = next(iter(manifest.left_out.items()))
        parts.append(f"{len(manifest.left_out):,}, for example {name}: {reason}")
    if unread := len(dataset.unread):
        parts.append(f"{unread:,} not read yet")
    return "; ".join(parts) or "nothing"


def _last_run(run: LastRun | None) -> str:
    return f"{run.id}: {run.status}, {formatting.local_time(run.when)}" if run else "none"
