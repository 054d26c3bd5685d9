"""Finish: mark the config of a model that passed its smoke test, start scaling, and schedule the teardown."""

from datetime import UTC, datetime, timedelta

from cleanup import resources, schedules
from contracts.base import iso8601
from contracts.request import TeardownAfter, TeardownOf, TeardownWhenIdle
from contracts.run import Run
from contracts.serving import Finished, FinishInput
from core.errors import NotOwned
from core.logging import logger
from entry_point import step
from serving import scaling, tags
from serving.scaling import Scale

# CloudWatch counts by the minute, and the smoke test's own requests count as use in theirs.
_MINUTE = timedelta(minutes=1)


@step(FinishInput)
def handler(given: FinishInput) -> Finished:
    """Mark the endpoint config as verified, and set up scaling and teardown as requested."""
    run, scale = given.run, Scale.of(given.run.hosting)
    teardown_at = _schedule(run)
    values = {tags.VERIFIED: _text(datetime.now(UTC))}
    if scale:
        values[tags.SCALES] = scale.tag
    # With "always", the Teardown state comes next. If it fails, the sweep sees by this tag that the endpoint
    # is overdue.
    if due := teardown_at or (datetime.now(UTC) if run.teardown == "always" else None):
        values[tags.TEARDOWN_AT] = _text(due)
    if isinstance(run.teardown, TeardownWhenIdle):
        values[tags.TEARDOWN_WHEN_IDLE] = iso8601(run.teardown.when_idle)
    tags.add(run, run.name, values)
    own_tags = tags.of_config(run.execution.id, run.name)
    _delete_second_to_last(run, own_tags.get(tags.PREVIOUS))
    if scale:
        scaling.start(run.endpoint, scale)
    else:
        scaling.stop(run.endpoint)
    return Finished(
        scales=scale is not None, teardown_at=teardown_at, replaced=own_tags.get(tags.PREVIOUS_MODEL) or None
    )


def _delete_second_to_last(run: Run, last: str | None) -> None:
    """Delete the second-to-last endpoint config and its model.

    Keep the last one: SageMaker rolls back to a config. The registry has every older model.
    """
    second_to_last = tags.of_config(run.execution.id, last).get(tags.PREVIOUS) if last else None
    if second_to_last and second_to_last not in (run.name, last):
        try:
            resources.delete_config_and_model(second_to_last)
        except NotOwned as error:
            # The new model serves. The sweep reports what stays.
            logger.warning("The second-to-last config and model stay", reason=str(error))


def _schedule(run: Run) -> datetime | None:
    if isinstance(run.teardown, TeardownAfter):
        return schedules.schedule_teardown(TeardownOf(run=run.name), run.teardown.after)
    if isinstance(run.teardown, TeardownWhenIdle):
        idle = run.teardown.when_idle
        return schedules.schedule_teardown(TeardownOf(run=run.name, when_idle=idle), idle + _MINUTE)
    return None


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
