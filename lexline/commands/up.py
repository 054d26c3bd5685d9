"""`lexline up`: start the local cloud, build and deploy."""

from __future__ import annotations

from typing import Annotated

import typer

from lexline.aws import quotas, sam, target
from lexline.aws import stack as stacks
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName
from lexline.core import paths
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
    parameters = sam.parameters_from(parameter or [])
    repository = paths.repository()
    if profile:
        where = target.for_profile(profile, stack, region, paths.home())
    else:
        with terminal.working(console, "Starting the local cloud"):
            where = target.start_cloud(paths.home(), stack)
    with terminal.working(console, f"Building and deploying the stack {stack} to {where.place}") as show:
        sam.deploy(where, repository, parameters, show)
    for warning in quotas.warnings(where):
        console.print(f"\n{warning}", markup=False)
    console.print(f"\nThe API is at {stacks.read(where).api_url}")
    given = {"--profile": profile, "--region": region, "--stack": stack if stack != DEFAULT_STACK else None}
    options = "".join(f" {option} {value}" for option, value in given.items() if value)
    console.print(
        "Next steps:\n"
        f"  lexline run FILE{options}    upload a text and train a model on it\n"
        f"  lexline generate{options}    generate text with the model\n"
        f"  lexline status{options}      show what is deployed and what runs",
        markup=False,
    )
