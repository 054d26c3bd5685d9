"""The optional last step: delete the endpoint this run serves on, its endpoint config and its model.

An endpoint that serves another run is not this run's to delete. Deleting takes minutes, and the config goes
only when the endpoint is gone, so the step raises EndpointBusy until then and the state machine comes back.
"""

from __future__ import annotations

import endpoint
from contracts import TeardownInput, TornDown
from errors import EndpointBusy
from step import step


@step(TeardownInput)
def handler(given: TeardownInput) -> TornDown:
    run = given.run
    if not endpoint.config_exists(run.name):
        return TornDown(removed=endpoint.delete_config_and_model(run))
    live = endpoint.describe(run.endpoint)
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    if live and live.get("EndpointConfigName") == run.name:
        raise endpoint.delete(run.endpoint)
    removed = [] if live else [f"endpoint/{run.endpoint}"]
    return TornDown(removed=[*removed, *endpoint.delete_config_and_model(run)])
