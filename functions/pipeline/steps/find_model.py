"""The step that looks up the registered model to deploy: by the run that trained it, by version, or the one
that served before the one that serves.
"""

from __future__ import annotations

from contracts.registry import FindModelInput, Registered
from contracts.run import Run
from core.errors import ModelNotFound, ModelRejected
from entry_point import step
from registry import model_packages
from serving import endpoint

PREVIOUS = "previous"


@step(FindModelInput)
def handler(given: FindModelInput) -> Registered:
    run = given.run
    wanted = _previous(run) if run.model == PREVIOUS else str(run.model)
    found = model_packages.find(run.endpoint, wanted)
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
