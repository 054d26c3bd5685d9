"""The lease: the right to change the endpoint, held by one run at a time.

It is one item of the table, under `endpoint/<name>`:

    owner, execution   the run that holds it, and its execution's ARN; absent when nobody does
    generation         a number that rises with every holder and is never given twice
    until              when it lapses, in seconds since 1970, unless the holder renews it
    waiting            who waits, by run: its execution, its task token, since when

Every write is conditional on what was read, so two runs never hold it at once. Each step that changes the
endpoint or may take long renews it before it works (step.py), for far longer than that takes: a run that has
lost it, because it lapsed and another took it, is stopped there (`LeaseLost`) and can overwrite nothing. The
generation goes onto every endpoint config, so that even then an older run is told from a newer one.
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

# Longer than a run can go without a step that renews it, its retries used up (Prepare to Train: 900 s of
# reading and some 40 minutes of pauses). It lapses only where a run hangs: a dead one's is passed on at once.
SECONDS = 2 * 3600
_ATTEMPTS = 5
# That the lease is as it was read: nobody's, or its holder's and not renewed since.
_AS_FREE = "#generation = :generation AND attribute_not_exists(#owner)"
_AS_HELD = "#generation = :generation AND #owner = :former AND #until = :lapses"


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

    def waiter(self, run: str) -> Waiter | None:
        """The run's place in line, if it has one."""
        return next((waiter for waiter in self.waiting if waiter.run == run), None)


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
            if _renewed(run, lease):
                return lease
        elif held.free:
            if pass_on(held, me):
                return Lease(owner=run.name, generation=held.generation + 1)
        elif _wait(held, me):
            return None
    raise ServiceUnavailable(f"The lease on endpoint {run.endpoint} changed hands at every look.")


def renew(run: Run, lease: Lease) -> None:
    """Hold on to the lease for as long again. Raises LeaseLost when it is another run's by now."""
    if not _renewed(run, lease):
        raise LeaseLost(
            f"Run {run.name} held the lease on endpoint {run.endpoint} for too long without a sign, and "
            "another run has it now. Nothing of the other's was touched; start this run again."
        )


def pass_on(held: Held, to: Waiter | None) -> bool:
    """Give a lease that is free, or whose holder is dead or done, to `to`, or to nobody.

    False where it is not as it was in `held` any more: it has changed hands, its holder has given a sign of
    life, or the line has moved: `to` no longer waits or does so on another token, or, where it was to be
    nobody's, somebody waits.
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
            f"{taken}, #waiting = :nobody",
            {**values, ":nobody": {"M": {}}},
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
    """Wait no longer."""
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
    """The values of the two conditions above."""
    values: dict[str, AttributeValueTypeDef] = {":generation": table.number(held.generation)}
    if held.owner:
        values |= {":former": {"S": held.owner}, ":lapses": table.number(held.until)}
    return values


def _wait(held: Held, me: Waiter) -> bool:
    # A run that comes again keeps its place in line.
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
