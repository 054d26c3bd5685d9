"""The step that looks up the registered model to deploy: by the run that trained it, by version, or the one
that served before the one that serves.
"""

from __future__ import annotations

import endpoint
import registry
from contracts import FindModelInput, Registered, Run
from errors import ModelNotFound, ModelRejected
from step import step

PREVIOUS = "previous"


@step(FindModelInput)
def handler(given: FindModelInput) -> Registered:
    run = given.run
    wanted = _previous(run) if run.model == PREVIOUS else str(run.model)
    found = registry.find(run.endpoint, wanted)
    if not found.approved and not run.force:
        raise ModelRejected(
            f"Model {found.model} was refused (`lexline models` says why). To deploy it all the same, give "
            '"force": true.'
        )
    return found


def _previous(run: Run) -> str:
    live = endpoint.describe(run.endpoint)
    config = live.get("EndpointConfigName", "") if live else ""
    previous = endpoint.config_tags(run.execution.id, config).get(endpoint.PREVIOUS_MODEL) if config else None
    if not previous:
        raise ModelNotFound(
            f"Endpoint {run.endpoint} served nothing before what it serves now. `lexline models` lists the "
            "models that can be deployed by name."
        )
    return previous
