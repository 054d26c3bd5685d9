"""The lease: the right to change the endpoint, held by one run at a time.

It is one item of the table, under `endpoint/<name>`:

    owner, execution   the run that holds it, and its execution's ARN; absent when nobody does
    generation         a number that rises with every holder and is never given twice
    until              when it lapses, in seconds since 1970, unless the holder renews it
    waiting            who waits, by run: its execution, its task token, since when

Every write is conditional on what was read, so two runs never hold it at once. Each step renews it before it
works (step.py), for far longer than a step can take: a run that has lost it, because it lapsed and another
took it, is stopped there (`LeaseLost`) and can overwrite nothing. The generation goes onto every endpoint
config, so that even then an older run is told from a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import table
from contracts import Lease, Run
from errors import LeaseLost, ServiceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# Longer than any function or pause between two steps (900 s), so that it lapses only where a run is dead.
SECONDS = 30 * 60
_ATTEMPTS = 5


@dataclass(frozen=True)
class Waiter:
    """A run that waits for its turn."""

    run: str
    execution: str
    token: str
    since: float


@dataclass(frozen=True)
class Held:
    """The lease as the table has it. `owner` None: nobody holds it. `waiting` is in order of arrival."""

    endpoint: str
    owner: str | None = None
    execution: str | None = None
    generation: int = 0
    until: float = 0
    waiting: list[Waiter] = field(default_factory=list)

    @property
    def free(self) -> bool:
        return self.owner is None or self.until < time.time()


def read(endpoint: str) -> Held:
    """The lease as it is now."""
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
    """The lease, if it is this run's or free; else None, and the run waits in line under `token`."""
    me = Waiter(run.name, run.execution.id, token, time.time())
    for _ in range(_ATTEMPTS):
        held = read(run.endpoint)
        if held.owner == run.name:
            lease = Lease(owner=run.name, generation=held.generation)
            renew(run, lease)
            return lease
        if held.free:
            if _hand(held, me):
                return Lease(owner=run.name, generation=held.generation + 1)
        elif _wait(held, me):
            return None
    raise ServiceUnavailable(f"The lease on endpoint {run.endpoint} changed hands at every look.")


def renew(run: Run, lease: Lease) -> None:
    """Hold on to the lease for as long again. Raises LeaseLost when it is another run's by now."""
    if not table.write(
        _key(run.endpoint),
        "SET #until = :until",
        {
            ":until": table.number(time.time() + SECONDS),
            ":owner": {"S": lease.owner},
            ":generation": table.number(lease.generation),
        },
        condition="#owner = :owner AND #generation = :generation",
    ):
        raise LeaseLost(
            f"Run {run.name} held the lease on endpoint {run.endpoint} for too long without a sign, and "
            "another run has it now. Nothing of the other's was touched; start this run again."
        )


def pass_on(held: Held, to: Waiter | None) -> bool:
    """Give a dead or finished holder's lease to `to`, or to nobody; False if it had changed hands before."""
    if to is not None:
        return _hand(held, to)
    return table.write(
        _key(held.endpoint),
        "REMOVE #owner, #execution, #until",
        {
            ":owner": {"S": held.owner or ""},
            ":generation": table.number(held.generation),
            ":none": table.number(0),
        },
        condition="#owner = :owner AND #generation = :generation AND size(#waiting) = :none",
    )


def leave(endpoint: str, run: str) -> None:
    """Wait no longer."""
    table.write(
        _key(endpoint),
        "REMOVE #waiting.#run",
        {},
        condition="attribute_exists(#waiting.#run)",
        names={"run": run},
    )


def _hand(held: Held, to: Waiter) -> bool:
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
            f"{taken}, #waiting = :nobody",
            {**values, ":nobody": {"M": {}}},
            condition="attribute_not_exists(#generation)",
        )
    return table.write(
        _key(held.endpoint),
        f"{taken} REMOVE #waiting.#run",
        {**values, ":generation": table.number(held.generation)},
        condition="#generation = :generation",
        names={"run": to.run},
    )


def _wait(held: Held, me: Waiter) -> bool:
    # A run that comes again keeps its place in line.
    since = next((waiter.since for waiter in held.waiting if waiter.run == me.run), me.since)
    entry: AttributeValueTypeDef = {
        "M": {"execution": {"S": me.execution}, "token": {"S": me.token}, "since": table.number(since)}
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
