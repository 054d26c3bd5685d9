"""The lease: which run may change the endpoint, and which runs wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from lexline.aws.stack import Stack


@dataclass(frozen=True)
class Lease:
    """The lease on the endpoint.

    Attributes:
        owner: Name of the run that has the lease, or "".
        waiting: Names of the runs that wait for it, in the order of their turn.
    """

    owner: str
    waiting: list[str]


def read(stack: Stack) -> Lease:
    """Return the lease from the item endpoint/NAME of the stack's table."""
    key = {"resource": {"S": f"endpoint/{stack.endpoint}"}}
    response = stack.target.dynamodb.get_item(TableName=stack.table, Key=key, ConsistentRead=True)
    item = response.get("Item", {})
    waiting = item.get("waiting", {}).get("M", {})
    return Lease(
        owner=item.get("owner", {}).get("S", ""),
        waiting=sorted(waiting, key=lambda run: float(waiting[run]["M"]["since"]["N"])),
    )
