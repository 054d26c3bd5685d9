"""`lexline status` and `lexline logs`, and how every command that starts a run watches it."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from lexline import logs, overview, report, runs, target, terminal
from lexline.commands.options import DEFAULT_STACK, INTERRUPTED, Profile, Region, StackName, located
from lexline.follow import Snapshot, Watcher, follow
from lexline.runs import Run
from lexline.target import Stack, Target
from lexline.view import view_for

_UNFINISHED = ("ABORTED", "TIMED_OUT")
# The error of executions that a stack's deletion stops; nothing is left to clean up after them.
_STACK_DELETED = "StackDeleted"


def status(
    watched: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Show this run. Default with --follow: the newest.")
    ] = None,
    follow_run: Annotated[bool, typer.Option("--follow", "-f", help="Watch a run until it ends.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Say what is deployed, what serves and what it costs, who is at work and who waits, and what ran."""
    console = terminal.stdout()
    where = located(profile, stack, region)
    deployed = target.deployed(where)
    if follow_run:
        watch(console, where, deployed, runs.find(where, deployed, watched))
        return
    if watched:
        _print_result_or_progress(console, where, deployed, runs.find(where, deployed, watched))
        return
    overview.show(console, where, deployed)


def watch(console: Console, where: Target, deployed: Stack, started: Run) -> None:
    """Shows the run until it ends, then its result. Exits with 1 when the run did not do what it should."""
    console.print(f"Run {started.id} ({started.name})")
    try:
        with view_for(console) as view:
            last = follow(where, deployed, started, view)
    except KeyboardInterrupt:
        console.print(
            f"\nStopped watching. The run goes on without you.\n"
            f"  lexline status --follow {started.id}    watch it again\n"
            f"  lexline logs {started.id} --follow      the training job's output",
            markup=False,
        )
        raise typer.Exit(INTERRUPTED) from None
    _print_result(console, where, last)
    if not last.succeeded:
        raise typer.Exit(1)


def _print_result(console: Console, where: Target, snapshot: Snapshot) -> None:
    if snapshot.report is not None:
        lines = report.lines_of(snapshot.report, snapshot.run.id, local=where.local)
    else:
        lines = [f"The run ended as {snapshot.status}. {snapshot.error}".rstrip()]
        if snapshot.status in _UNFINISHED and not snapshot.error.startswith(_STACK_DELETED):
            lines.append("What it left half-made a run of its own cleans up, which `lexline status` lists.")
    console.print()
    for line in lines:
        terminal.prose(console, line)


def _print_result_or_progress(console: Console, where: Target, deployed: Stack, wanted: Run) -> None:
    snapshot = Watcher(where, deployed, wanted).look()
    with view_for(console) as view:
        view.show(snapshot)
    if snapshot.ended:
        _print_result(console, where, snapshot)


class Source(StrEnum):
    """What `lexline logs` can show."""

    training = "training"
    endpoint = "endpoint"
    functions = "functions"


def show_logs(
    wanted: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Default: the newest run.")] = None,
    source: Annotated[Source, typer.Option(help="Whose log.")] = Source.training,
    follow_log: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Print the log of a run's training job, of the endpoint, or of the stack's functions."""
    where = located(profile, stack, region)
    deployed = target.deployed(where)
    try:
        if source is Source.training:
            found = runs.find(where, deployed, wanted)
            readers = logs.of_training(where, found, wait=follow_log)
        elif source is Source.endpoint:
            readers = logs.of_endpoint(where, deployed)
        else:
            readers = logs.of_functions(where)
        _print_logs(readers, follow_log)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _print_logs(readers: list[logs.Labelled], go_on: bool) -> None:
    printed = 0
    while True:
        for label, line in logs.merged(readers):
            prefix = f"{label}  " if label else ""
            typer.echo(f"{line.when.astimezone():%H:%M:%S}  {prefix}{line.text}")
            printed += 1
        if not go_on:
            break
        time.sleep(1)
    if not printed:
        typer.echo("There is nothing in the log yet.", err=True)
