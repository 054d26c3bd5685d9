"""`lexline status`: show the stack, or one run."""

from __future__ import annotations

from typing import Annotated

import typer

from lexline.aws import runs
from lexline.aws.watcher import Watcher
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect, follow, print_result
from lexline.display import run_progress, terminal
from lexline.display import status as overview


def status(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Id or name of a run to show. With --follow, the default is the newest valid run. If a file "
            "was just uploaded, that is the upload's run.",
        ),
    ] = None,
    follow_run: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the run until it ends, like `lexline run`.")
    ] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Show the current model, its cost, the run that uses the endpoint, and the main runs; or show one run.

    The main runs are those in progress, the run that serves, the last run of each dataset, and the newest
    runs.
    """
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    if follow_run:
        follow(console, connection, runs.find(connection, run) if run else runs.newest(connection))
    elif run:
        snapshot = Watcher(connection, runs.find(connection, run)).look()
        with run_progress.view_for(console) as view:
            view.show(snapshot)
        if snapshot.ended:
            print_result(console, snapshot)
    else:
        overview.show(console, connection)
