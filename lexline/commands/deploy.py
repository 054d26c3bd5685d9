"""`lexline deploy`: deploy a model that was trained before."""

from __future__ import annotations

from typing import Annotated

import typer

from lexline.aws import deployment, models
from lexline.commands import request
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect, follow
from lexline.display import terminal
from lexline.display.models import describe

Force = Annotated[bool, typer.Option("--force", help="Deploy the model even if it was rejected.")]


def deploy(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Version, run id or name of the model, from `lexline models`."),
    ],
    force: Force = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Override a field of hosting: hosting.instance_count=2, hosting.endpoint_type=serverless.",
        ),
    ] = None,
    teardown: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="When to tear down the endpoint, as for `lexline run`."),
    ] = None,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """Deploy a model that was trained before, and follow the run that does it.

    The run trains nothing. It tests the model like a new one. If the test fails, the endpoint goes back to
    the current model.
    """
    fields = request.without_defaults(
        **request.overrides(overrides or [], ("hosting",)), force=force, teardown=request.teardown(teardown)
    )
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    found = models.find(connection, model)
    deployment.check_approval(found, force=force)
    console.print(f"Deploying {describe(found)}", markup=False)
    follow(console, connection, deployment.start(connection, found.name, fields))
