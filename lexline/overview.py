"""What `lexline status` prints: the stack, the model that serves, and the newest runs."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline import runs, wording
from lexline.errors import UserError
from lexline.follow import Snapshot, Watcher
from lexline.http_api import HttpApi
from lexline.target import Stack, Target

_RUNS = 5


def show(console: Console, target: Target, stack: Stack) -> None:
    """Prints it all."""
    console.print(f"Stack    {target.stack} on {target.place}, {stack.status}")
    console.print(f"API      {stack.api_url}")
    console.print(f"Uploads  s3://{stack.bucket}/uploads/DATASET/")
    console.print(f"Model    {served(HttpApi(target, stack))}\n", markup=False)
    recent = runs.recent(target, stack, _RUNS)
    if not recent:
        console.print("Nothing has run yet: lexline run FILE")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("Run", "Dataset", "Started", "Took", "Result"):
        table.add_column(column)
    for run in recent:
        snapshot = Watcher(target, run).look()
        took = (run.stopped or snapshot.now) - run.started
        table.add_row(
            run.id,
            escape(snapshot.dataset),
            f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}",
            wording.seconds(took.total_seconds()),
            outcome(snapshot),
        )
    console.print(table)


def served(api: HttpApi) -> str:
    """The model as GET /model tells it, or the reason why there is none."""
    try:
        model = api.get("/model")
    except UserError as error:
        return error.message
    perplexity = model.get("perplexity")
    quality = f", test perplexity {wording.perplexity(perplexity)}" if perplexity is not None else ""
    since = f"{datetime.fromisoformat(model['since']).astimezone():%Y-%m-%d %H:%M}"
    return f"{model['model']}{quality}, since {since} ({model['status']})"


def outcome(snapshot: Snapshot) -> str:
    """How a run ended, or which step it is in."""
    if not snapshot.ended:
        running = [step.name for step in snapshot.steps if step.state == "running"]
        return f"running: {running[0]}" if running else "running"
    if snapshot.report is None:
        return snapshot.status.lower()
    return str(snapshot.report["status"]).lower()
