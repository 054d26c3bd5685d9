"""The step after the smoke test: the model has passed, so its config is marked, its fleet is let scale, and
its end is scheduled where one was asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cleanup import schedules
from contracts.base import iso8601
from contracts.request import TeardownAfter, TeardownOf, TeardownWhenIdle
from contracts.run import Run
from contracts.serving import Finished, FinishInput
from core import aws, names
from entry_point import step
from serving import endpoint, scaling
from serving.scaling import Scale

# CloudWatch counts by the minute, and the smoke test's own requests count in theirs.
_MINUTE = timedelta(minutes=1)


@step(FinishInput)
def handler(given: FinishInput) -> Finished:
    run, scale = given.run, Scale.asked(given.run.hosting)
    teardown_at = _schedule(run)
    tags = {endpoint.VERIFIED: _moment(datetime.now(UTC))}
    if scale:
        tags[endpoint.SCALES] = scale.tag
    if teardown_at:
        tags[endpoint.TEARDOWN_AT] = _moment(teardown_at)
    elif run.teardown == "always":
        # The tear-down comes next. Should it not come to it, the sweep sees that it is late.
        tags[endpoint.TEARDOWN_AT] = _moment(datetime.now(UTC))
    if isinstance(run.teardown, TeardownWhenIdle):
        tags[endpoint.TEARDOWN_WHEN_IDLE] = iso8601(run.teardown.when_idle)
    aws.sagemaker().add_tags(
        ResourceArn=names.arn(run, "endpoint-config", run.name),
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    _retire(run)
    if scale:
        scaling.start(run.endpoint, scale)
    else:
        scaling.stop(run.endpoint)
    return Finished(scales=scale is not None, teardown_at=teardown_at)


def _retire(run: Run) -> None:
    """Delete the config and model that served before the one that served before this.

    The last is kept, for SageMaker goes back to a config and not to a registered model; any older model is in
    the registry.
    """
    near = run.execution.id
    former = endpoint.config_tags(near, run.name).get(endpoint.PREVIOUS)
    older = endpoint.config_tags(near, former).get(endpoint.PREVIOUS) if former else None
    if older and older not in (run.name, former):
        endpoint.delete_config_and_model(older)


def _schedule(run: Run) -> datetime | None:
    if isinstance(run.teardown, TeardownAfter):
        return schedules.schedule_teardown(TeardownOf(run=run.name), run.teardown.after)
    if isinstance(run.teardown, TeardownWhenIdle):
        idle = run.teardown.when_idle
        return schedules.schedule_teardown(TeardownOf(run=run.name, when_idle=idle), idle + _MINUTE)
    return None


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
