"""`lexline logs`: print logs."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from lexline.aws import logs as aws_logs
from lexline.aws import runs
from lexline.aws.logs import LogReader
from lexline.commands.common import DEFAULT_STACK, INTERRUPTED, Profile, Region, StackName, connect


class Source(StrEnum):
    """The logs to choose from."""

    training = "training"
    endpoint = "endpoint"
    functions = "functions"


def logs(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="Id or name of the run to show the training of. Default: the newest."
        ),
    ] = None,
    source: Annotated[
        Source, typer.Option(help="The log: of a run's training, the endpoint, or the stack's functions.")
    ] = Source.training,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more lines until Ctrl-C.")] = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Print the log of a run's training job, of the endpoint, or of the stack's functions."""
    connection = connect(profile, stack, region)
    try:
        if source is Source.training:
            readers = aws_logs.of_training(connection, runs.find(connection, run), wait=follow)
        elif source is Source.endpoint:
            readers = aws_logs.of_endpoint(connection)
        else:
            readers = aws_logs.of_functions(connection)
        printed = _print_new(readers)
        while follow:
            time.sleep(1)
            _print_new(readers)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if not printed:
        typer.echo("The log is empty.", err=True)


def _print_new(readers: list[LogReader]) -> bool:
    """Print the new lines, and return whether there were any."""
    lines = aws_logs.merged(readers)
    for line in lines:
        label = f"{line.label}  " if line.label else ""
        typer.echo(f"{line.when.astimezone():%H:%M:%S}  {label}{line.text}")
    return bool(lines)
