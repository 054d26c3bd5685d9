"""FindModel: look up the registered model to deploy.

The request names it by the run that trained it, by its version, or as "previous": the model that served
before the present one.
"""

from contracts.registry import FindModelInput, Registered
from contracts.run import Run
from core.errors import ModelNotFound, ModelRejected
from entry_point import step
from registry import model_packages
from serving import endpoint, tags

PREVIOUS = "previous"


@step(FindModelInput)
def handler(given: FindModelInput) -> Registered:
    """Return the registered model; refuse a rejected one unless the request has `force`."""
    run = given.run
    name = _previous(run) if run.model == PREVIOUS else str(run.model)
    found = model_packages.find(run.endpoint, name)
    if not found.approved and not run.force:
        raise ModelRejected(
            f"Model {found.model} was rejected; `lexline models` shows why. To deploy it nevertheless, "
            'set "force": true.'
        )
    return found


def _previous(run: Run) -> str:
    live = endpoint.describe(run.endpoint)
    config = live.get("EndpointConfigName", "") if live else ""
    previous = tags.of_config(run.execution.id, config).get(tags.PREVIOUS_MODEL) if config else None
    if not previous:
        raise ModelNotFound(
            f"Endpoint {run.endpoint} served no model before the present one. Deploy a model by its name; "
            "`lexline models` lists them."
        )
    return previous
