"""The step that deletes the endpoint a run serves on, its endpoint config and its model.

An endpoint that serves another run is not this one's to delete, and one that was to go when idle stays while
it is used. Deleting takes minutes, and the config goes only when the endpoint is gone, so the step raises
EndpointBusy until then and the state machine comes back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cleanup import schedules
from contracts.request import TeardownOf
from contracts.run import Run
from contracts.serving import TeardownDone, TeardownInput
from core import aws, names
from core.errors import EndpointBusy, NothingToDo
from entry_point import step
from serving import endpoint

# GetMetricStatistics gives up to 1,440 points at once, and an older start only in coarser ones: a period that
# is not a multiple of these seconds answers with nothing at all.
_MOST_POINTS = 1400
_COARSENESS = ((timedelta(days=14), 60), (timedelta(days=62), 300), (timedelta.max, 3600))


@step(TeardownInput)
def handler(given: TeardownInput) -> TeardownDone:
    run = given.run
    live = endpoint.describe(run.endpoint)
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    serving = live.get("EndpointConfigName", "") if live else None
    if serving == run.subject:
        if run.teardown_of and run.teardown_of.when_idle:
            _must_be_idle(run, run.teardown_of, run.teardown_of.when_idle)
        raise endpoint.delete(run.endpoint)
    if run.teardown_of and serving is not None:
        raise NothingToDo(f"Endpoint {run.endpoint} serves {serving} by now, not {run.subject}.")
    # Whose config is still there had the endpoint, which is gone now.
    had_endpoint = serving is None and endpoint.config_exists(run.subject)
    removed = [f"endpoint/{run.endpoint}"] if had_endpoint else []
    removed += endpoint.delete_config_and_model(run.subject)
    if run.teardown_of and not removed:
        raise NothingToDo(f"There is no endpoint {run.endpoint}, and of {run.subject} nothing is left.")
    return TeardownDone(removed=removed)


def _must_be_idle(run: Run, wish: TeardownOf, idle: timedelta) -> None:
    """Raise NothingToDo, and look again later, if the endpoint was asked for text within `idle`."""
    used = last_used(run.endpoint, idle)
    if used is None:
        return
    again = schedules.schedule_teardown(wish, max(used + idle - datetime.now(UTC), timedelta(seconds=1)))
    # Or the sweep would take it for late.
    aws.sagemaker().add_tags(
        ResourceArn=names.arn(run, "endpoint-config", run.subject),
        Tags=[{"Key": endpoint.TEARDOWN_AT, "Value": again.isoformat(timespec="seconds")}],
    )
    raise NothingToDo(
        f"Endpoint {run.endpoint} was asked for text until about {used:%Y-%m-%d %H:%M} UTC; it is looked at "
        f"again at {again:%Y-%m-%d %H:%M} UTC."
    )


def last_used(name: str, within: timedelta) -> datetime | None:
    """The end of the latest period up to now in which the endpoint was invoked; None for none.

    The period is a minute for up to 23 hours. CloudWatch has invocations a minute or two after they were
    made, so of the last ones nothing is known yet.
    """
    now = datetime.now(UTC)
    multiple = next(seconds for age, seconds in _COARSENESS if within < age)
    period = multiple * -(-int(within.total_seconds()) // (_MOST_POINTS * multiple))
    points = aws.cloudwatch().get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": endpoint.VARIANT},
        ],
        StartTime=now - within,
        # Not now: CloudWatch's clock may be ahead of this one.
        EndTime=now + timedelta(seconds=period),
        Period=period,
        Statistics=["Sum"],
    )["Datapoints"]
    used = [point["Timestamp"] for point in points if point.get("Sum", 0) > 0]
    return max(used) + timedelta(seconds=period) if used else None
