"""`lexline up`: start the local cloud, build and deploy."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lexline.aws import parameters, quotas, sam, target
from lexline.aws import stack as stacks
from lexline.aws.target import Target
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName
from lexline.core import lock, paths
from lexline.display import terminal


def up(
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help="Set a parameter of the stack, for example Epochs=6. Repeat the option for several.",
        ),
    ] = None,
) -> None:
    """Build and deploy the stack; without --profile, start the local cloud first if it is not running.

    Parameters that are not given keep their values on the stack. samconfig.toml sets some of them.
    """
    console = terminal.stdout()
    given_parameters = parameters.parse(parameter or [])
    repository, home = paths.repository(), paths.home()
    parameters.check(given_parameters, repository)
    on_aws = target.for_profile(profile, stack, region, home) if profile else None
    with lock.only_one(on_aws.work if on_aws else home), _ended_by_signals():
        where = on_aws or _local_cloud(console, home, stack)
        with terminal.working(console, f"Building and deploying the stack {stack} to {where.place}") as show:
            sam.deploy(where, repository, given_parameters, show)
    for warning in quotas.warnings(where, {}):
        console.print(f"\n{warning}", markup=False)
    console.print(f"\nThe API is at {stacks.read(where).api_url}")
    options = terminal.options()
    console.print(
        "Next steps:\n"
        f"  lexline run FILE{options}    upload a text and train a model on it\n"
        f"  lexline generate{options}    generate text with the model\n"
        f"  lexline status{options}      show what is deployed and what runs",
        markup=False,
    )


def _local_cloud(console: Console, home: Path, stack: str) -> Target:
    """Return the target of the local cloud, which is started if it is not running."""
    if running := target.cloud_in(home, stack):
        console.print("The local cloud is already running.")
        return running
    with terminal.working(console, "Starting the local cloud"):
        return target.start_cloud(home, stack)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Treat the end of the terminal or of a CI job like Ctrl-C, so that no `sam deploy` is left."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    # A command that nohup has started ignores the end of the terminal.
    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN]
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
