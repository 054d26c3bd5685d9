"""`lexline up`: start the local cloud, build and deploy."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from lexline.aws import parameters, quotas, sam, target
from lexline.aws import stack as stacks
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
        if on_aws:
            where = on_aws
        else:
            with terminal.working(console, "Starting the local cloud"):
                where = target.start_cloud(home, stack)
        with terminal.working(console, f"Building and deploying the stack {stack} to {where.place}") as show:
            sam.deploy(where, repository, given_parameters, show)
    for warning in quotas.warnings(where):
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
