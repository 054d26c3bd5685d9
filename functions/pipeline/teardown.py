"""The step that deletes the endpoint a run serves on, its endpoint config and its model.

An endpoint that serves another run is not this one's to delete, and one that was to go when idle stays while
it is used. Deleting takes minutes, and the config goes only when the endpoint is gone, so the step raises
EndpointBusy until then and the state machine comes back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import aws
import endpoint
import schedules
from contracts import Run, TakeDown, TeardownInput, TornDown
from errors import EndpointBusy, NothingToDo
from step import step

# CloudWatch has an endpoint's invocations by the minute, a minute or two after they were made.
_PERIOD = timedelta(minutes=1)


@step(TeardownInput)
def handler(given: TeardownInput) -> TornDown:
    run = given.run
    if not endpoint.config_exists(run.subject):
        return TornDown(removed=endpoint.delete_config_and_model(run.subject))
    live = endpoint.describe(run.endpoint)
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    serves = bool(live) and live is not None and live.get("EndpointConfigName") == run.subject
    if run.take_down and not serves and live:
        raise NothingToDo(
            f"Endpoint {run.endpoint} serves {live.get('EndpointConfigName')} by now, not {run.subject}."
        )
    if serves:
        if run.take_down and run.take_down.when_idle:
            _must_be_idle(run, run.take_down, run.take_down.when_idle)
        raise endpoint.delete(run.endpoint)
    removed = [] if live else [f"endpoint/{run.endpoint}"]
    return TornDown(removed=[*removed, *endpoint.delete_config_and_model(run.subject)])


def _must_be_idle(run: Run, wish: TakeDown, idle: timedelta) -> None:
    """Raise NothingToDo, and look again later, if the endpoint was asked for text within `idle`."""
    used = last_used(run.endpoint, idle)
    if used is None:
        return
    again = schedules.take_down(wish, max(used + _PERIOD + idle - datetime.now(UTC), timedelta(seconds=1)))
    raise NothingToDo(
        f"Endpoint {run.endpoint} was last asked for text about {used:%H:%M} UTC; it is looked at again at "
        f"{again:%Y-%m-%d %H:%M} UTC."
    )


def last_used(name: str, within: timedelta) -> datetime | None:
    """The latest minute within the time up to now in which the endpoint was invoked; None for none."""
    now = datetime.now(UTC)
    # Not more than 1,440 points come at once: a longer time is looked at in coarser steps.
    seconds = max(60, 60 * -(-int(within.total_seconds()) // (1440 * 60)))
    points = aws.cloudwatch().get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": endpoint.VARIANT},
        ],
        StartTime=now - within,
        EndTime=now,
        Period=seconds,
        Statistics=["Sum"],
    )["Datapoints"]
    used = [point["Timestamp"] for point in points if point.get("Sum", 0) > 0]
    return max(used, default=None)
