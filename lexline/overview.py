"""What `lexline status` prints: the stack, what serves and costs, who is at work, and the newest runs."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lexline import bill, costs, history, lease, runs, serving, wording
from lexline.errors import UserError
from lexline.follow import Snapshot, Watcher
from lexline.http_api import HttpApi
from lexline.lease import Lease
from lexline.run_ids import id_in
from lexline.serving import Serving
from lexline.target import Stack, Target
from lexline.view import label

_RUNS = 5


def show(console: Console, target: Target, stack: Stack) -> None:
    """Prints it all."""
    console.print(f"Stack    {target.stack} on {target.place}, {stack.status}")
    console.print(f"API      {stack.api_url}")
    console.print(f"Uploads  s3://{stack.bucket}/uploads/DATASET/")
    console.print(f"Model    {served(HttpApi(target, stack))}", markup=False)
    live = serving.read(target, stack)
    for told in (at_work(lease.read(target, stack)), going(live)):
        if told:
            console.print(told, markup=False)
    estimate = bill.standing(target, stack, live)
    if estimate:
        where = " (on AWS; this machine charges nothing)" if target.local else ""
        console.print(f"Cost     {costs.on_endpoint(estimate)}{where}", markup=False)
    console.print()
    recent = runs.recent(target, stack, _RUNS)
    if not recent:
        console.print("Nothing has run yet: lexline run FILE")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("Run", "For", "Started", "Took", "Result"):
        table.add_column(column, no_wrap=column == "Run", overflow="fold")
    for run in recent:
        snapshot = Watcher(target, stack, run).look()
        took = (run.stopped or snapshot.now) - run.started
        table.add_row(
            run.id,
            escape(snapshot.work),
            f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}",
            wording.seconds(took.total_seconds()),
            outcome(snapshot),
        )
    console.print(table)


def at_work(held: Lease) -> str:
    """Who has the endpoint's lease and who waits for it; "" when nobody has."""
    if not held.holder:
        return ""
    waiting = wording.listing([id_in(run) for run in held.waiting]) if held.waiting else "nobody"
    return f"At work  run {id_in(held.holder)} has the endpoint; in line for it: {waiting}"


def going(live: Serving | None) -> str:
    """When the endpoint is to be taken down; "" when that is not asked."""
    if live is None:
        return ""
    if live.take_down_when_idle:
        return f"Until    nobody has asked it for text for {live.take_down_when_idle}; then it is taken down"
    return (
        f"Until    {wording.local_time(live.take_down_at)}; then it is taken down"
        if live.take_down_at
        else ""
    )


def served(api: HttpApi) -> str:
    """The model as GET /model tells it, or the reason why there is none."""
    try:
        model = api.get("/model")
    except UserError as error:
        return error.message
    perplexity = model.get("perplexity")
    quality = f", test perplexity {wording.perplexity(perplexity)}" if perplexity is not None else ""
    since = wording.local_time(datetime.fromisoformat(model["since"]))
    return f"{model['model']}{quality}, since {since} ({model['status']})"


def outcome(snapshot: Snapshot) -> str:
    """How a run ended, or which step it is in."""
    if not snapshot.ended:
        running = [label(step).lower() for step in snapshot.steps if step.state == "running"]
        return snapshot.in_line or (f"running: {running[0]}" if running else "running")
    if snapshot.report is None:
        return snapshot.status.lower()
    gatherer = history.joined_by(str(snapshot.report.get("reason", "")))
    if gatherer:
        return f"joined {id_in(gatherer)}"
    ended = str(snapshot.report["status"]).lower()
    return (
        f"{ended}, rolled back"
        if (ended, snapshot.report.get("event")) == ("failed", "rolled_back")
        else ended
    )
