"""The daily sweep: find what has no owner, report it, and delete it if `Sweep=delete`.

The sweep also makes up for events that never came: the end of an execution, an upload, the time of a
teardown.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from cleanup import orphans, resources
from contracts.events import SweepInput, Swept
from coordination import arrivals, executions, lease
from coordination.handover import hand_over
from core import aws, environment, ownership
from core.errors import NotOwned
from core.logging import logger
from entry_point import step
from reporting import sns_messages
from uploads.listing import listed


@step(SweepInput)
def handler(_: SweepInput) -> Swept:
    """Sweep the deployment's endpoint and datasets, and return what was found."""
    name, deletes = environment.endpoint_name(), environment.sweep_deletes()
    held = lease.read(name)
    if held.execution:
        hand_over(name, held.execution)
    # Deletions come last, so that a refused one does not prevent what saves money or uploads.
    unwanted, started = _unwanted_endpoint(name, deletes=deletes)
    started += _lost_uploads(name)
    foreign: list[str] = []
    for kind, each in orphans.find(name):
        try:
            (resources.delete if deletes else ownership.check)(kind, each)
            unwanted.append(f"{kind}/{each}")
        except NotOwned as error:
            foreign.append(str(error))
    swept = Swept(orphans=unwanted, removed=deletes, foreign=foreign, started=started)
    if swept.orphans or swept.started or swept.foreign:
        sns_messages.swept(swept)
    logger.info(
        "Swept",
        orphans=len(swept.orphans),
        removed=deletes,
        foreign=len(swept.foreign),
        started=swept.started,
    )
    return swept


def _unwanted_endpoint(name: str, *, deletes: bool) -> tuple[list[str], list[str]]:
    """Start the execution that the endpoint needs. Return what is only reported, and what was started."""
    needed = orphans.needed_execution(name)
    if needed is None:
        return [], []
    if needed.purpose == "cleanup" and not deletes:
        return [f"endpoint/{name}"], []
    # The date in the cause lets the sweep try again every day until the execution succeeds.
    cause = f"{needed.config} {datetime.now(UTC):%Y-%m-%d}"
    return [], _start(needed.purpose, cause, needed.request)


def _start(purpose: str, cause: str, request: Mapping[str, object]) -> list[str]:
    """Start an execution unless this cause has had one. Return its ARN, or nothing."""
    started = executions.start_anew(purpose, cause, request)
    return [started] if started else []


def _lost_uploads(name: str) -> Iterator[str]:
    """Start a run for each dataset with uploads that no run has read, and clear ended gatherers.

    Yields:
        The ARN of each execution that was started.
    """
    bucket, root = environment.bucket(), "uploads/"
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=root, Delimiter="/")
    for page in pages:
        for folder in page.get("CommonPrefixes", []):
            dataset = folder["Prefix"].removeprefix(root).rstrip("/")
            if gatherer := arrivals.gatherer(dataset):
                hand_over(name, gatherer)
                continue
            found = listed(aws.s3(), bucket, dataset)
            if found and arrivals.is_lost(dataset, found):
                cause = f"{dataset} {arrivals.signature(found)}"
                yield from _start("lost-upload", cause, {"dataset": dataset})
