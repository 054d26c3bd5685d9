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

import time
from dataclasses import dataclass, field

from contracts.run import Lease, Run
from coordination import table
from core.errors import LeaseLost, ServiceUnavailable

# Longer than a run can go without a renewal, with every retry used (from AssembleDataset to Train: 900 s of
# work, two more attempts after timeouts, and some 40 minutes of pauses). Reading a large dataset takes hours,
# and each of its items renews the lease when it begins. The lease expires only if a run hangs: the lease of
# an ended run is passed on at once.
SECONDS = 2 * 3600
_ATTEMPTS = 5
# Conditions that the lease has not changed since it was read: it is free, or its owner has not renewed it.
_AS_FREE = "#generation = :generation AND attribute_not_exists(#owner)"
_AS_HELD = "#generation = :generation AND #owner = :former AND #until = :expires"
_TAKE = "SET #owner = :owner, #execution = :execution, #generation = :next, #until = :until"


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
    waiting = (Waiter(run, **entry) for run, entry in item.get("waiting", {}).items())
    return Held(
        endpoint=endpoint,
        owner=item.get("owner"),
        execution=item.get("execution"),
        generation=int(item.get("generation", 0)),
        until=item.get("until", 0),
        waiting=sorted(waiting, key=lambda waiter: waiter.since),
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
    as_read = {":generation": held.generation, ":former": held.owner, ":expires": held.until}
    if to is None:
        return table.write(
            _key(held.endpoint),
            "REMOVE #owner, #execution, #until",
            {**as_read, ":none": 0},
            condition=f"{_AS_HELD} AND size(#waiting) = :none",
        )
    place = held.waiter(to.run)
    if held.generation:
        in_queue = "#waiting.#run.#token = :token" if place else "attribute_not_exists(#waiting.#run)"
        update = f"{_TAKE} REMOVE #waiting.#run"
        condition = f"{_AS_HELD if held.owner else _AS_FREE} AND {in_queue}"
    else:
        update, condition = f"{_TAKE}, #waiting = :empty", "attribute_not_exists(#generation)"
    values = {
        ":owner": to.run,
        ":execution": to.execution,
        ":next": held.generation + 1,
        ":until": time.time() + SECONDS,
        ":token": place.token if place else None,
        ":empty": {},
    }
    return table.write(_key(held.endpoint), update, as_read | values, condition=condition, run=to.run)


def leave(endpoint: str, run: str) -> None:
    """Remove a run from the queue."""
    in_queue = "attribute_exists(#waiting.#run)"
    table.write(_key(endpoint), "REMOVE #waiting.#run", {}, condition=in_queue, run=run)


def _renewed(run: Run, lease: Lease) -> bool:
    return table.write(
        _key(run.endpoint),
        "SET #until = :until",
        {
            ":until": time.time() + SECONDS,
            ":owner": lease.owner,
            ":generation": lease.generation,
        },
        condition="#owner = :owner AND #generation = :generation",
    )


def _wait(held: Held, me: Waiter) -> bool:
    # A run that asks again keeps its place in the queue.
    place = held.waiter(me.run)
    since = place.since if place else me.since
    entry = {"execution": me.execution, "token": me.token, "since": since}
    return table.write(
        _key(held.endpoint),
        "SET #waiting.#run = :me",
        {":me": entry, ":owner": held.owner, ":generation": held.generation},
        condition="#owner = :owner AND #generation = :generation",
        run=me.run,
    )


def _key(endpoint: str) -> str:
    return f"endpoint/{endpoint}"
