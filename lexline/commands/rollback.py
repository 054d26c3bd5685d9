"""`lexline rollback`: deploy the model that served before."""

from __future__ import annotations

from lexline.aws import endpoint as endpoints
from lexline.aws import models
from lexline.commands import request
from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect
from lexline.commands.deploy import Force, check_approval, start_deployment
from lexline.core.errors import UserError
from lexline.display import terminal
from lexline.display.models import describe

_OTHER_MODELS = "`lexline models` lists the models. To deploy one of them: `lexline deploy MODEL`."


def rollback(
    force: Force = False, profile: Profile = None, stack: StackName = DEFAULT_STACK, region: Region = None
) -> None:
    """Deploy the model that served before the current one, and follow the run that does it."""
    console = terminal.stdout()
    connection = connect(profile, stack, region)
    endpoint = endpoints.read(connection)
    if endpoint is None or not endpoint.serves:
        raise UserError(f"The endpoint {connection.endpoint} does not serve a model.", _OTHER_MODELS)
    current = endpoint.model or endpoint.config
    if not endpoint.previous:
        raise UserError(
            f"The endpoint {connection.endpoint} served no model before {current}.", _OTHER_MODELS
        )
    previous = models.find(connection, endpoint.previous)
    check_approval(previous, force=force)
    console.print(f"Rolling back from {current} to {describe(previous)}", markup=False)
    start_deployment(console, connection, "previous", request.without_defaults(force=force))
