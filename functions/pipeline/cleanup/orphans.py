"""Which resources no run needs any more, and whether the endpoint should be as it is.

Three kinds of resources have an owner: those that serve, those that the serving ones replaced (SageMaker can
roll back to them), and those of the run that holds the lease.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cleanup import resources
from cleanup.resources import Kind
from coordination import executions, lease
from core import names, ownership
from serving import endpoint, tags

# A schedule has this long to start its execution before the endpoint counts as overdue.
_GRACE = timedelta(hours=1)


def find(name: str) -> list[tuple[Kind, str]]:
    """Return the orphans of an endpoint's runs, as `(kind, name)`, in the order of their deletion."""
    # List first, then ask for the owners: a resource that a run creates in between is not in the list.
    existing = resources.list_resources(name)
    owned = _owned(name)
    return [(kind, each) for kind, each in existing if each not in owned]


def _owned(name: str) -> set[str]:
    owned: set[str] = set()
    held = lease.read(name)
    if held.owner:
        request = executions.request_of(executions.describe(str(held.execution)))
        other = request.get("cleanup_of") or request.get("teardown_of") or {}
        owned |= {held.owner, str(other.get("run", ""))}
    live = endpoint.describe(name)
    if live:
        serving = live.get("EndpointConfigName", "")
        owned |= {serving, _tags(name, live["EndpointArn"], serving).get(tags.PREVIOUS, "")}
    return owned


@dataclass(frozen=True)
class Needed:
    """A cleanup or teardown to start, because of the endpoint config that the endpoint has now."""

    purpose: Literal["cleanup", "teardown"]
    config: str
    request: Mapping[str, object]


def needed_execution(name: str) -> Needed | None:
    """Return the execution that the endpoint needs now, or None if it needs none.

    An overdue endpoint needs a teardown. An endpoint whose model never passed its smoke test needs a cleanup,
    which puts the former model back or deletes the endpoint. While a run holds the lease, the endpoint is
    that run's. Another stack's endpoint needs nothing.
    """
    live = endpoint.describe(name)
    if live is None or lease.read(name).owner is not None:
        return None
    config = live.get("EndpointConfigName", "")
    values = _tags(name, live["EndpointArn"], config)
    if not ownership.is_own(values):
        return None
    if tags.GENERATION in values and tags.VERIFIED not in values:
        return Needed("cleanup", config, {"cleanup_of": {"run": config, "execution": "", "status": "FAILED"}})
    due = values.get(tags.TEARDOWN_AT)
    if due and datetime.fromisoformat(due) + _GRACE < datetime.now(UTC):
        idle = values.get(tags.TEARDOWN_WHEN_IDLE)
        request = {"run": config, **({"when_idle": idle} if idle else {})}
        return Needed("teardown", config, {"teardown_of": request})
    return None


def _tags(name: str, sibling_arn: str, config: str) -> dict[str, str]:
    """Return the tags of an endpoint config, or {} if the name is not that of a run.

    The role may read only the tags of configs whose names begin as those of runs do.
    """
    return tags.of_config(sibling_arn, config) if config.startswith(names.prefix(name)) else {}
