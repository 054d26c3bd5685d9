"""The overview of a stack: the model that serves, its cost, the lease, and the newest runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from lexline.aws import endpoint as endpoints
from lexline.aws import lease, reports, runs
from lexline.aws.endpoint import Endpoint
from lexline.aws.http_api import HttpApi
from lexline.aws.lease import Lease
from lexline.aws.runs import dataset_in, id_in
from lexline.aws.stack import Stack
from lexline.aws.watcher import Snapshot, Watcher
from lexline.core.errors import UserError
from lexline.display import cost, formatting, run_progress, terminal

_DATASETS = 5
"""For how many datasets the last run that had the lease is shown."""


def show(console: Console, stack: Stack) -> None:
    """Print the overview."""
    endpoint = endpoints.read(stack)
    estimate = cost.current(stack, endpoint)
    free = " (on AWS; the local cloud is free)" if stack.target.local else ""
    lines = {
        "Stack": f"{stack.target.stack_name} on {stack.target.place}, {stack.status}",
        "API": stack.api_url,
        "Uploads": f"s3://{stack.bucket}/uploads/DATASET/",
        "Model": current_model(HttpApi(stack)),
        "Lease": describe_lease(lease.read(stack)),
        "Teardown": teardown_time(endpoint),
        "Cost": f"{cost.of_endpoint(estimate)}{free}" if estimate else "",
    }
    for name, text in lines.items():
        if text:
            console.print(f"{name:<9} {text}", markup=False)
    console.print()
    serving = {endpoint.config, endpoint.model} if endpoint and endpoint.serves else set()
    shown = runs.to_show(stack, serving.union(_last_of_each_dataset(stack)))
    if not shown:
        terminal.prose(console, "There are no runs yet. Start one with `lexline run FILE`.")
        return
    table = terminal.table()
    for column in ("Run", "Work", "Started", "Duration", "Result"):
        table.add_column(column, no_wrap=column == "Run", overflow="fold")
    for run in shown:
        snapshot = Watcher(stack, run).look()
        duration = (run.stopped or snapshot.now) - run.started
        table.add_row(
            run.id,
            escape(terminal.plain(work(snapshot.request))),
            f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}",
            formatting.duration(duration.total_seconds()),
            escape(terminal.plain(outcome(snapshot))) + (", serves" if run.id in map(id_in, serving) else ""),
        )
    terminal.print_table(console, table)


def _last_of_each_dataset(stack: Stack) -> list[str]:
    """Return the names of the last run of each dataset. Every run that had the lease wrote a report."""
    last: dict[str, str] = {}
    for report in reports.newest_first(stack):
        last.setdefault(report.run.removesuffix(id_in(report.run)), report.run)
    return list(last.values())[:_DATASETS]


def describe_lease(current: Lease) -> str:
    """Return in words which run has the lease and which runs wait for it, or "" if none has it."""
    if not current.owner:
        return ""
    waiting = formatting.listing([id_in(run) for run in current.waiting]) if current.waiting else "none"
    return f"run {id_in(current.owner)} uses the endpoint; runs that wait for it: {waiting}"


def teardown_time(endpoint: Endpoint | None) -> str:
    """Return in words when the endpoint will be torn down, or "" if nobody requested that."""
    if endpoint is None:
        return ""
    if endpoint.teardown_when_idle:
        return f"after {endpoint.teardown_when_idle} without requests"
    return formatting.local_time(endpoint.teardown_at) if endpoint.teardown_at else ""


def current_model(api: HttpApi) -> str:
    """Return in words the model that the API serves, or why there is none."""
    try:
        model = api.get("/model")
    except UserError as error:
        return error.message
    perplexity = model.get("perplexity")
    unknown = formatting.unknown(model.get("unknown_share"))
    quality = "" if perplexity is None else f", test perplexity {formatting.perplexity(perplexity)}{unknown}"
    since = formatting.local_time(datetime.fromisoformat(model["since"]))
    return f"{model['model']}{quality}, since {since} ({model['status']})"


def work(request: Any) -> str:
    """Return in a word or two what an execution's input requests: for a training, the name of the dataset.

    Anybody may start an execution, so the input can be any JSON. Return "" for unknown input.
    """
    if not isinstance(request, dict) or "dataset" in request:
        return dataset_in(request)
    if "model" in request:
        model = str(request["model"])
        return "roll back" if model == "previous" else f"deploy {id_in(model)}"
    for field, words in (("teardown_of", "tear down"), ("cleanup_of", "clean up")):
        if isinstance(request.get(field), dict):
            return f"{words} {id_in(str(request[field].get('run', '')))}"
    return dataset_in(request)


def outcome(snapshot: Snapshot) -> str:
    """Return in a word or two how a run ended, or which step is in progress."""
    if not snapshot.ended:
        steps = [run_progress.label(step).lower() for step in snapshot.steps if step.state == "running"]
        return run_progress.position(snapshot.queue) or ": ".join(["running", *steps[:1]])
    if snapshot.report is None:
        return snapshot.status.lower()
    if snapshot.report.get("joined"):
        return f"joined {id_in(str(snapshot.report['joined']))}"
    status = str(snapshot.report.get("status", snapshot.status)).lower()
    rolled_back = status == "failed" and snapshot.report.get("event") == "rolled_back"
    return f"{status}, rolled back" if rolled_back else status
