"""`lexline up` and `lexline down`: bring everything up, and take everything away."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from lexline import deploy, project, removal, target, terminal
from lexline.commands.options import DEFAULT_STACK, Profile, Region, StackName, Yes


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
            help="A template parameter, such as Epochs=6.",
        ),
    ] = None,
) -> None:
    """Start the local cloud if needed, then build and deploy everything.

    Parameters that are not given keep the values they have on the stack; samconfig.toml sets some.
    """
    console = terminal.stdout()
    parameters = deploy.parameters_from(parameter or [])
    root = project.root()
    if profile:
        where = target.aws(profile, stack, region, project.home())
    else:
        with terminal.working(console, "Starting the local cloud"):
            where = target.start_local(project.home(), stack)
    with terminal.working(console, f"Building and deploying the stack {stack} to {where.place}") as say:
        deploy.deploy(where, root, parameters, say)
    deployed = target.deployed(where)
    console.print(f"\nThe API is at {deployed.api_url}")
    given = {"--profile": profile, "--region": region, "--stack": stack if stack != DEFAULT_STACK else None}
    options = "".join(f" {option} {value}" for option, value in given.items() if value)
    console.print(
        "Next:\n"
        f"  lexline run FILE{options}    upload a text and watch its run\n"
        f"  lexline generate{options}    text from the model that serves\n"
        f"  lexline status{options}      what runs and what is served",
        markup=False,
    )


def down(
    yes: Yes = False, profile: Profile = None, stack: StackName = DEFAULT_STACK, region: Region = None
) -> None:
    """Take everything away: endpoint, models, data, stack; on this machine the local cloud itself."""
    if profile:
        _down_on_aws(profile, stack, region, yes=yes)
    else:
        _down_here(yes=yes)


def _down_here(*, yes: bool) -> None:
    # Imported here: a deployment to AWS needs nothing of the local cloud.
    from localcloud import control

    console, home = terminal.stdout(), project.home()
    if not home.exists():
        console.print("There is no local cloud to take down.")
        return
    if not yes:
        typer.confirm(f"Stop the local cloud and delete all it holds in {home}?", abort=True)
    control.stop(home)
    console.print(
        f"No local cloud has used {home}, so it was left alone."
        if home.exists()
        else "The local cloud is stopped and its files are deleted."
    )


def _down_on_aws(profile: str, stack: str, region: str | None, *, yes: bool) -> None:
    console = terminal.stdout()
    where = target.aws(profile, stack, region, project.home())
    say = partial(console.print, markup=False)
    try:
        deployed = target.deployed(where)
    except target.NotDeployed as error:
        console.print(error.message)
        return
    except target.NotUsable as error:
        console.print(error.message)
        if not yes:
            typer.confirm(f"Delete the stack {stack}?", abort=True)
        removal.delete_stack(where, say)
        return
    if not yes:
        typer.confirm(
            f"Delete the stack {stack} in {where.session.region_name}, its endpoint and models, and "
            f"everything in the bucket {deployed.bucket}, uploads too?",
            abort=True,
        )
    removal.remove(where, deployed, say)
    console.print(
        f"The stack {stack} is gone, with its data and models. The account keeps the jobs' history, the logs "
        "under /aws/sagemaker and the role that API Gateway logs with; they cost next to nothing."
    )
