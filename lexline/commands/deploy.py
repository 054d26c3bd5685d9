"""`lexline deploy`: deploy a model that was trained before."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from lexline.aws import models, runs
from lexline.aws.models import Model
from lexline.aws.runs import id_in
from lexline.aws.stack import Stack
from lexline.commands import request
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect, follow
from lexline.core.errors import UserError
from lexline.display import terminal
from lexline.display.models import approval, describe

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
    check_approval(found, force=force)
    console.print(f"Deploying {describe(found)}", markup=False)
    start_deployment(console, connection, found.name, fields)


def check_approval(model: Model, *, force: bool) -> None:
    """Raise a UserError if a model is not approved and the user has not given --force."""
    if not model.approved and not force:
        raise UserError(
            f"Version {model.version} ({model.name}) is {approval(model)}: {model.reason}",
            "To deploy it anyway, add --force.",
        )


def start_deployment(console: Console, stack: Stack, model: str, fields: dict[str, Any]) -> None:
    """Start and follow a run that deploys a model, which may be "previous"."""
    subject = "rollback" if model == "previous" else f"deploy-{id_in(model)}"
    follow(console, stack, runs.start(stack, subject, {"model": model, **fields}))
