"""Once a day: what nobody owns any more is found, said, and deleted where the deployment says so.

Owned is what serves, what it took the place of (to go back to), and what the holder of the lease has made.
The sweep is also the last to notice an event that never came: an execution's end, an upload, the time for an
endpoint to go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cleanup import resources
from contracts.events import SweepInput, Swept
from coordination import arrivals, executions, lease
from coordination.handover import hand_over
from core import aws, environment, names
from core.logging import logger
from entry_point import step
from reporting import messages
from serving import endpoint
from uploads.listing import objects

# A schedule is given this long to start its execution by itself.
_PATIENCE = timedelta(hours=1)


@step(SweepInput)
def handler(_: SweepInput) -> Swept:
    name, deletes = environment.endpoint_name(), environment.sweep_deletes()
    held = lease.read(name)
    if held.execution:
        hand_over(name, held.execution)
    # What costs or was lost comes first, should something refuse to be deleted.
    unwanted, started = _unwanted_endpoint(name, deletes=deletes)
    started += _lost_uploads(name)
    # Listed before it is asked who owns what: what a run makes in between is on no list.
    made = resources.made(name)
    owned = _owned(name)
    orphans = [(kind, each) for kind, each in made if each not in owned]
    for kind, each in orphans if deletes else ():
        resources.remove(kind, each)
    swept = Swept(
        orphans=[*unwanted, *(f"{kind}/{each}" for kind, each in orphans)], removed=deletes, started=started
    )
    if swept.orphans or swept.started:
        messages.swept(swept)
    logger.info("Swept", orphans=len(swept.orphans), removed=swept.removed, started=swept.started)
    return swept


def _owned(name: str) -> set[str]:
    """The names that configs, models and jobs may carry."""
    owned = set()
    held = lease.read(name)
    if held.owner:
        asked = executions.asked(executions.describe(str(held.execution)))
        cleaned = asked.get("cleanup_of") or asked.get("teardown_of") or {}
        owned |= {held.owner, str(cleaned.get("run", ""))}
    live = endpoint.describe(name)
    if live:
        serving = live.get("EndpointConfigName", "")
        owned |= {serving, _tags(name, live["EndpointArn"], serving).get(endpoint.PREVIOUS, "")}
    return owned


def _unwanted_endpoint(name: str, *, deletes: bool) -> tuple[list[str], list[str]]:
    """An endpoint that should not be as it is: how it is told of, and the executions started to change that.

    One that should have gone by now is taken down. One whose model never passed its smoke test is put back,
    or taken down if it had no other before.
    """
    live = endpoint.describe(name)
    if live is None or lease.read(name).owner is not None:
        return [], []
    config, now = live.get("EndpointConfigName", ""), datetime.now(UTC)
    tags = _tags(name, live["EndpointArn"], config)
    # Once a day, for as long as it helps nothing.
    cause = f"{config} {now:%Y-%m-%d}"
    if endpoint.GENERATION in tags and endpoint.VERIFIED not in tags:
        if not deletes:
            return [f"endpoint/{name}"], []
        wish = {"run": config, "execution": "", "status": "FAILED"}
        return [], _started("cleanup", cause, {"cleanup_of": wish})
    due = tags.get(endpoint.TEARDOWN_AT)
    if due and datetime.fromisoformat(due) + _PATIENCE < now:
        idle = tags.get(endpoint.TEARDOWN_WHEN_IDLE)
        wish = {"run": config, **({"when_idle": idle} if idle else {})}
        return [], _started("teardown", cause, {"teardown_of": wish})
    return [], []


def _started(purpose: str, cause: str, document: Mapping[str, Any]) -> list[str]:
    """The execution, unless the cause has had one."""
    started = executions.start_anew(purpose, cause, document)
    return [started] if started else []


def _tags(name: str, near: str, config: str) -> dict[str, str]:
    """The tags of a config that a run has made; those of others are not this deployment's to read."""
    return endpoint.config_tags(near, config) if config.startswith(names.prefix(name)) else {}


def _lost_uploads(name: str) -> Iterator[str]:
    """Have datasets run whose uploads no run has seen, and let go of who died while it gathered some."""
    bucket, root = environment.bucket(), "uploads/"
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=root, Delimiter="/")
    for page in pages:
        for folder in page.get("CommonPrefixes", []):
            dataset = folder["Prefix"].removeprefix(root).rstrip("/")
            gatherer = arrivals.gatherer(dataset)
            if gatherer:
                hand_over(name, gatherer)
                continue
            found = objects(aws.s3(), bucket, dataset)
            if found and arrivals.is_lost(dataset, found):
                cause = f"{dataset} {arrivals.signature(found)}"
                yield from _started("lost-upload", cause, {"dataset": dataset})
