"""Teardown: delete the endpoint on which a run serves, its endpoint config and its model.

The step leaves an endpoint alone that serves another run, and one that was to be deleted when idle but is in
use. Deleting an endpoint takes minutes, and its config can be deleted only afterwards. Until then the step
raises EndpointBusy and the state machine retries it.
"""

from datetime import UTC, datetime, timedelta

from cleanup import resources, schedules
from cleanup.idle import last_used
from contracts.request import TeardownOf
from contracts.run import Run
from contracts.serving import TeardownDone, TeardownInput
from core import ownership
from core.errors import EndpointBusy, NothingToDo
from entry_point import step
from serving import endpoint, tags


@step(TeardownInput)
def handler(given: TeardownInput) -> TeardownDone:
    """Delete the subject's endpoint, config and model, and return what was deleted."""
    run, requested = given.run, given.run.teardown_of
    live = endpoint.describe(run.endpoint)
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    serving = live.get("EndpointConfigName", "") if live else None
    if serving == run.subject:
        if requested and requested.when_idle:
            _check_idle(run, requested, requested.when_idle)
        resources.delete_endpoint_and_retry(run.endpoint)
    if requested and serving is not None:
        raise NothingToDo(f"Endpoint {run.endpoint} now serves {serving}, not {run.subject}.")
    # If the run's endpoint config still exists, its endpoint was deleted after the config had been created.
    had_endpoint = serving is None and endpoint.config_exists(run.subject)
    removed = [f"endpoint/{run.endpoint}"] if had_endpoint else []
    removed += resources.delete_config_and_model(run.subject)
    if requested and not removed:
        raise NothingToDo(f"Endpoint {run.endpoint} and all resources of {run.subject} are deleted already.")
    return TeardownDone(removed=removed)


def _check_idle(run: Run, requested: TeardownOf, idle: timedelta) -> None:
    """Raise NothingToDo, and schedule the next check, if the endpoint was used within `idle`."""
    ownership.check("endpoint-config", run.subject)
    used = last_used(run.endpoint, idle)
    if used is None:
        return
    next_check = schedules.schedule_teardown(
        requested, max(used + idle - datetime.now(UTC), timedelta(seconds=1))
    )
    # Otherwise the sweep would take the endpoint for overdue.
    tags.add(run, run.subject, {tags.TEARDOWN_AT: next_check.isoformat(timespec="seconds")})
    raise NothingToDo(
        f"Endpoint {run.endpoint} was used until about {used:%Y-%m-%d %H:%M} UTC. The next check is at "
        f"{next_check:%Y-%m-%d %H:%M} UTC."
    )
