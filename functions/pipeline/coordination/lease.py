"""The lease: the right to change the endpoint, held by one run at a time.

The lease is one item of the table, under `endpoint/<name>`:

    owner, execution   the run that holds the lease, and its execution's ARN; absent if no run holds it
    generation         a number that rises with every owner and is never used twice
    until              when the lease expires, in seconds since 1970, unless the owner renews it
    waiting            the runs that wait, by run: execution, task token, time of arrival

Every write is conditional on what was read, so two runs never hold the lease at once. Each step that changes
the endpoint or may take long renews the lease before it works (entry_point.py). The lease lasts much longer
than any step. A run that has lost an expired lease to another run stops there (`LeaseLost`) and cannot
overwrite anything. Every endpoint config carries the generation as a tag, so an older run can be told from a
newer one even then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contracts.run import Lease, Run
from coordination import table
from core.errors import LeaseLost, ServiceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# Longer than a run can go without a renewal, with every retry used (from Prepare to Train: 900 s of reading
# and some 40 minutes of pauses). The lease expires only if a run hangs: the lease of an ended run is passed
# on at once.
SECONDS = 2 * 3600
_ATTEMPTS = 5
# Conditions that the lease has not changed since it was read: it is free, or its owner has not renewed it.
_AS_FREE = "#generation = :generation AND attribute_not_exists(#owner)"
_AS_HELD = "#generation = :generation AND #owner = :former AND #until = :expires"


@dataclass(frozen=True)
class Waiter:
    """A run that waits for the lease; `since` is in seconds since 1970."""

    run: str
    execution: str
    token: str
    since: float


@dataclass(frozen=True)
class Held:
    """The lease as the table has it.

    `owner` is None if no run holds the lease. `waiting` is in order of arrival; `until` is in seconds since
    1970.
    """

    endpoint: str
    owner: str | None = None
    execution: str | None = None
    generation: int = 0
    until: float = 0
    waiting: list[Waiter] = field(default_factory=list)

    @property
    def free(self) -> bool:
        """Whether any run may take the lease: it has no owner, or it has expired."""
        return self.owner is None or self.until < time.time()

    def waiter(self, run: str) -> Waiter | None:
        """Return the run's place in the queue, or None if it does not wait."""
        return next((waiter for waiter in self.waiting if waiter.run == run), None)


def read(endpoint: str) -> Held:
    """Return the lease as it is now."""
    item = table.get(_key(endpoint))
    waiting = item.get("waiting", {}).get("M", {})
    return Held(
        endpoint=endpoint,
        owner=table.text(item, "owner"),
        execution=table.text(item, "execution"),
        generation=int(table.seconds(item, "generation")),
        until=table.seconds(item, "until"),
        waiting=sorted(
            (_waiter(run, each["M"]) for run, each in waiting.items()), key=lambda waiter: waiter.since
        ),
    )


def acquire(run: Run, token: str) -> Lease | None:
    """Take the lease, or join the queue.

    Args:
        run: the run that asks.
        token: the task token with which the waiting run can be woken.

    Returns:
        The lease if it was free or is this run's already; None if the run waits now.

    Raises:
        ServiceUnavailable: other runs changed the lease during every attempt.
    """
    me = Waiter(run.name, run.execution.id, token, time.time())
    for _ in range(_ATTEMPTS):
        held = read(run.endpoint)
        if held.owner == run.name:
            lease = Lease(owner=run.name, generation=held.generation)
            if _renewed(run, lease):
                return lease
        elif held.free:
            if pass_on(held, me):
                return Lease(owner=run.name, generation=held.generation + 1)
        elif _wait(held, me):
            return None
    raise ServiceUnavailable(f"The lease on endpoint {run.endpoint} changed during every attempt to take it.")


def renew(run: Run, lease: Lease) -> None:
    """Extend the lease by `SECONDS` from now.

    Raises:
        LeaseLost: another run holds the lease.
    """
    if not _renewed(run, lease):
        raise LeaseLost(
            f"Run {run.name} did not renew its lease on endpoint {run.endpoint} in time, and another run "
            "holds it now. This run has changed nothing since. Start it again."
        )


def pass_on(held: Held, to: Waiter | None) -> bool:
    """Give the lease to a waiting run, or to no run.

    Args:
        held: the lease as it was read; it is free, or its owner's execution has ended.
        to: the next owner; None if no run waits.

    Returns:
        False if the lease has changed since it was read: another owner, a renewal, or another queue.
    """
    if to is None:
        return table.write(
            _key(held.endpoint),
            "REMOVE #owner, #execution, #until",
            {**_as_read(held), ":none": table.number(0)},
            condition=f"{_AS_HELD} AND size(#waiting) = :none",
        )
    values: dict[str, AttributeValueTypeDef] = {
        ":owner": {"S": to.run},
        ":execution": {"S": to.execution},
        ":next": table.number(held.generation + 1),
        ":until": table.number(time.time() + SECONDS),
    }
    taken = "SET #owner = :owner, #execution = :execution, #generation = :next, #until = :until"
    if not held.generation:
        return table.write(
            _key(held.endpoint),
            f"{taken}, #waiting = :empty",
            {**values, ":empty": {"M": {}}},
            condition="attribute_not_exists(#generation)",
        )
    place = held.waiter(to.run)
    if place:
        values[":token"] = {"S": place.token}
    return table.write(
        _key(held.endpoint),
        f"{taken} REMOVE #waiting.#run",
        {**values, **_as_read(held)},
        condition=(
            f"{_AS_HELD if held.owner else _AS_FREE} AND "
            f"{'#waiting.#run.#token = :token' if place else 'attribute_not_exists(#waiting.#run)'}"
        ),
        names={"run": to.run},
    )


def leave(endpoint: str, run: str) -> None:
    """Remove a run from the queue."""
    table.write(
        _key(endpoint),
        "REMOVE #waiting.#run",
        {},
        condition="attribute_exists(#waiting.#run)",
        names={"run": run},
    )


def _renewed(run: Run, lease: Lease) -> bool:
    return table.write(
        _key(run.endpoint),
        "SET #until = :until",
        {
            ":until": table.number(time.time() + SECONDS),
            ":owner": {"S": lease.owner},
            ":generation": table.number(lease.generation),
        },
        condition="#owner = :owner AND #generation = :generation",
    )


def _as_read(held: Held) -> dict[str, AttributeValueTypeDef]:
    """Return the values of the conditions `_AS_FREE` and `_AS_HELD`."""
    values: dict[str, AttributeValueTypeDef] = {":generation": table.number(held.generation)}
    if held.owner:
        values |= {":former": {"S": held.owner}, ":expires": table.number(held.until)}
    return values


def _wait(held: Held, me: Waiter) -> bool:
    # A run that asks again keeps its place in the queue.
    place = held.waiter(me.run)
    entry: AttributeValueTypeDef = {
        "M": {
            "execution": {"S": me.execution},
            "token": {"S": me.token},
            "since": table.number(place.since if place else me.since),
        }
    }
    return table.write(
        _key(held.endpoint),
        "SET #waiting.#run = :me",
        {":me": entry, ":owner": {"S": held.owner or ""}, ":generation": table.number(held.generation)},
        condition="#owner = :owner AND #generation = :generation",
        names={"run": me.run},
    )


def _waiter(run: str, entry: Mapping[str, Any]) -> Waiter:
    return Waiter(run, entry["execution"]["S"], entry["token"]["S"], float(entry["since"]["N"]))


def _key(endpoint: str) -> str:
    return f"endpoint/{endpoint}"
