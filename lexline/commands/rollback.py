"""`lexline rollback`: deploy the model that served before."""

from __future__ import annotations

from lexline.aws import deployment
from lexline.commands import request
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect, follow
from lexline.commands.deploy import Force
from lexline.display import terminal
from lexline.display.models import describe


def rollback(
    force: Force = False, profile: Profile = None, stack: StackName = DEFAULT_STACK, region: Region = None
) -> None:
    """Deploy the model that served before the current one, and follow the run that does it."""
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    current, previous = deployment.rollback(connection)
    deployment.check_approval(previous, force=force)
    console.print(f"Rolling back from {current} to {describe(previous)}", markup=False)
    run = deployment.start(connection, deployment.PREVIOUS, request.without_defaults(force=force))
    follow(console, connection, run)
