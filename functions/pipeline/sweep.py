"""Once a day: what nobody owns any more is found, said, and deleted where the deployment says so.

Owned is what serves, what it took the place of (to go back to), and what the holder of the lease has made.
The sweep is also the last to notice an event that never came: an execution's end, an upload, the time for an
endpoint to go.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import arrivals
import aws
import endpoint
import executions
import lease
import messages
import settings
import training_job
from contracts import SweepInput, Swept
from dataset_objects import objects
from settle import settle
from step import logger, step

# A schedule is given this long to start its execution by itself.
_PATIENCE = timedelta(hours=1)


@step(SweepInput)
def handler(_: SweepInput) -> Swept:
    name = settings.endpoint_name()
    held = lease.read(name)
    if held.execution:
        settle(name, held.execution)
    kept = _owned(name)
    orphans = sorted(_orphans(name, kept))
    for orphan in orphans if settings.sweep_deletes() else ():
        _remove(orphan)
    swept = Swept(
        orphans=orphans,
        removed=settings.sweep_deletes(),
        started=[*_take_downs(name), *_lost_uploads()],
    )
    if swept.orphans or swept.started:
        messages.swept(swept)
    logger.info("Swept", orphans=orphans, removed=swept.removed, started=swept.started)
    return swept


def _owned(name: str) -> set[str]:
    """The names that configs, models and jobs may carry."""
    owned = set()
    held = lease.read(name)
    if held.owner:
        asked = executions.asked(executions.describe(str(held.execution)))
        cleaned = asked.get("clean_up") or asked.get("take_down") or {}
        owned |= {held.owner, str(cleaned.get("run", ""))}
    live = endpoint.describe(name)
    if live:
        serving = live.get("EndpointConfigName", "")
        owned |= {serving, endpoint.config_tags(live["EndpointArn"], serving).get(endpoint.PREVIOUS, "")}
    return owned


def _orphans(name: str, owned: set[str]) -> Iterator[str]:
    """What carries this deployment's names and belongs to nobody, as `<kind>/<name>`."""
    sagemaker, prefix = aws.sagemaker(), f"{name}-"
    made: list[tuple[str, str]] = []
    for jobs in sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=prefix, StatusEquals="InProgress"
    ):
        made += [("training-job", job["TrainingJobName"]) for job in jobs["TrainingJobSummaries"]]
    for configs in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
        made += [("endpoint-config", each["EndpointConfigName"]) for each in configs["EndpointConfigs"]]
    for models in sagemaker.get_paginator("list_models").paginate(NameContains=prefix):
        made += [("model", model["ModelName"]) for model in models["Models"]]
    for kind, each in made:
        # NameContains is not "begins with".
        if each.startswith(prefix) and each not in owned:
            yield f"{kind}/{each}"


def _remove(orphan: str) -> None:
    kind, _, name = orphan.partition("/")
    if kind == "training-job":
        training_job.stop(name)
    elif kind == "endpoint-config":
        endpoint.delete_config(name)
    else:
        endpoint.delete_model(name)


def _take_downs(name: str) -> Iterator[str]:
    """Have an endpoint taken down that should have gone by now, or that never passed its smoke test."""
    live = endpoint.describe(name)
    if live is None or lease.read(name).owner is not None:
        return
    config = live.get("EndpointConfigName", "")
    tags = endpoint.config_tags(live["EndpointArn"], config)
    due = tags.get(endpoint.TAKE_DOWN_AT)
    late = due is not None and datetime.fromisoformat(due) + _PATIENCE < datetime.now(UTC)
    abandoned = endpoint.VERIFIED not in tags and endpoint.RUN in tags
    if late or (abandoned and settings.sweep_deletes()):
        wish = {"run": config, "when_idle": tags.get(endpoint.TAKE_DOWN_WHEN_IDLE)}
        yield executions.start("take-down", f"{config} {due}", {"take_down": wish})


def _lost_uploads() -> Iterator[str]:
    """Have datasets run whose uploads no run has seen."""
    bucket, root = settings.bucket(), "uploads/"
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=root, Delimiter="/")
    for page in pages:
        for folder in page.get("CommonPrefixes", []):
            dataset = folder["Prefix"].removeprefix(root).rstrip("/")
            found = objects(aws.s3(), bucket, dataset)
            if found and arrivals.is_lost(dataset, found):
                cause = f"{dataset} {arrivals.signature(found)}"
                yield executions.start("lost-upload", cause, {"dataset": dataset})
