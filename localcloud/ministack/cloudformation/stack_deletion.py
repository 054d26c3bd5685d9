"""The order in which a stack's resources are deleted.

AWS: if a resource cannot be deleted, everything that it depends on is kept, so that the deletion can be tried
again. For example, a custom resource keeps its function and the function's role.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html
MiniStack: it deletes them, and every later attempt to delete the stack fails.
Here: a resource with remaining dependents is not deleted. Its status is DELETE_FAILED as well; on AWS its
status does not change.
"""

import functools
from typing import Any


def patch() -> None:
    """Keep each resource on which a remaining resource of the stack depends."""
    from ministack.services.cloudformation import stacks

    delete = stacks._delete_resource

    @functools.wraps(delete)
    def delete_without_dependents(
        resource_type: str,
        physical_id: str,
        props: dict[str, Any],
        stack_name: str | None = None,
        logical_id: str | None = None,
    ) -> None:
        if dependents := _dependents(stack_name, logical_id):
            raise ValueError(f"Kept for {', '.join(dependents)}, which could not be deleted")
        delete(resource_type, physical_id, props, stack_name, logical_id)

    stacks._delete_resource = delete_without_dependents


def _dependents(stack_name: str | None, logical_id: str | None) -> list[str]:
    """Return the remaining resources that depend on this one, if the stack is being deleted."""
    from ministack.services import cloudformation
    from ministack.services.cloudformation import engine

    stack = cloudformation._stacks.get(stack_name) or {}
    if stack.get("StackStatus") != "DELETE_IN_PROGRESS":
        return []
    remaining = set(stack["_resources"]) - {logical_id}
    definitions = (stack.get("_template") or {}).get("Resources", {})
    return sorted(
        name
        for name in remaining
        if logical_id in engine._extract_deps(definitions.get(name, {}), {logical_id})
    )
