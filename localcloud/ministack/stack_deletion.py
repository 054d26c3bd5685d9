"""Deleting a stack: what a resource depends on stays for as long as the resource does.

On AWS a resource that could not be deleted keeps what it needs (a custom resource its function and role), so
that the deletion can be tried again. MiniStack goes on and deletes that, and every later attempt fails.
Here a resource that is kept back is DELETE_FAILED as well; on AWS nothing is said of it.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html
"""

import functools
from typing import Any


def mend() -> None:
    """Keep back what a resource of the stack still depends on."""
    from ministack.services.cloudformation import stacks

    delete = stacks._delete_resource

    @functools.wraps(delete)
    def deleting(
        resource_type: str,
        physical_id: str,
        props: dict[str, Any],
        stack_name: str | None = None,
        logical_id: str | None = None,
    ) -> None:
        if dependents := _dependents(stack_name, logical_id):
            raise ValueError(f"Kept for {', '.join(dependents)}, which could not be deleted")
        delete(resource_type, physical_id, props, stack_name, logical_id)

    stacks._delete_resource = deleting


def _dependents(stack_name: str | None, logical_id: str | None) -> list[str]:
    """The resources of a stack under deletion that depend on this one and should be gone by now."""
    from ministack.services import cloudformation
    from ministack.services.cloudformation import engine

    stack = cloudformation._stacks.get(stack_name) or {}
    if stack.get("StackStatus") != "DELETE_IN_PROGRESS":
        return []
    present = set(stack["_resources"]) - {logical_id}
    definitions = (stack.get("_template") or {}).get("Resources", {})
    return sorted(
        name
        for name in present
        if logical_id in engine._extract_deps(definitions.get(name, {}), {logical_id})
    )
