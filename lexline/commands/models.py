"""`lexline models`: list the models."""

from __future__ import annotations

import typer

from lexline.aws import endpoint as endpoints
from lexline.aws import models as registry
from lexline.commands.common import DEFAULT_STACK, AsJson, Last, Profile, Region, StackName, connect
from lexline.display import models as display
from lexline.display import terminal


def models(
    last: Last = 20,
    as_json: AsJson = False,
    profile: Profile = None,
    stack: StackName = DEFAULT_STACK,
    region: Region = None,
) -> None:
    """List the models with their perplexity, whether they were approved, and which one serves.

    In the column "Serves", "now" marks the current model, and "before" the model that `lexline rollback`
    deploys.
    """
    connection = connect(profile, stack, region)
    found = registry.newest(connection, last)
    endpoint = endpoints.read(connection)
    if as_json:
        typer.echo(display.as_json(found, endpoint))
    elif found:
        display.show(terminal.stdout(), found, endpoint)
    else:
        terminal.prose(terminal.stdout(), "There are no models yet. Train one with `lexline run FILE`.")
