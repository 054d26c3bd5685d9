"""Who may change the endpoint now, and who waits in line: the item endpoint/NAME of the stack's table."""

from __future__ import annotations

from dataclasses import dataclass

from lexline.target import Stack, Target


@dataclass(frozen=True)
class Lease:
    """The names of the run that has the endpoint's lease, "" when none has, and of those in line, first come
    first.
    """

    holder: str
    waiting: list[str]


def read(target: Target, stack: Stack) -> Lease:
    """The lease as it is now."""
    item = target.dynamodb.get_item(
        TableName=stack.table, Key={"resource": {"S": f"endpoint/{stack.endpoint}"}}, ConsistentRead=True
    ).get("Item", {})
    waiting = item.get("waiting", {}).get("M", {})
    return Lease(
        holder=item.get("owner", {}).get("S", ""),
        waiting=sorted(waiting, key=lambda run: float(waiting[run]["M"]["since"]["N"])),
    )
