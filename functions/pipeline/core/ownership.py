"""The owner of a SageMaker resource: the stack whose id the resource has as a tag.

CloudFormation does not know what the runs create, and two stacks may use the same names. So everything that a
run creates carries this stack's id, and nothing without it is updated, put back or deleted. The roles require
the tag too (template.yaml), which closes the moment between a check and the call that follows.

SageMaker does not tag the versions of a model package group; the tag of their group counts for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core import aws, environment, names
from core.errors import NotOwned

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import TagTypeDef

STACK = "lexline:stack"

Tags = Mapping[str, str]


def tag() -> TagTypeDef:
    """Return the tag with which a run creates a resource."""
    return {"Key": STACK, "Value": environment.stack_id()}


def arn(kind: names.ArnKind, name: str) -> str:
    """Return the ARN of a resource in this stack's partition, region and account."""
    return names.beside(environment.stack_id(), kind, name)


def read(*arns: str) -> dict[str, Tags | None]:
    """Return the tags of each resource by its ARN; None if it does not exist."""
    return {each: aws.tags_of(each) for each in arns}


def is_own(tags: Tags) -> bool:
    """Return whether a resource with these tags belongs to this stack."""
    return tags.get(STACK) == environment.stack_id()


def check(kind: names.ArnKind, name: str) -> bool:
    """Return whether the resource exists; raise NotOwned if it does and does not belong to this stack.

    A caller that deletes must not go on if it does not exist: the roles require the tag, and what does not
    exist has none, so SageMaker would return AccessDenied.
    """
    found = read(arn(kind, name))
    check_all(found)
    return None not in found.values()


def check_all(resources: Mapping[str, Tags | None]) -> None:
    """Check that the resources, as `read` returns them, belong to this stack or do not exist.

    Raises:
        NotOwned: some belong to others; the message names each.
    """
    foreign = {each: tags for each, tags in resources.items() if tags is not None and not is_own(tags)}
    if foreign:
        raise NotOwned(" ".join(_sentence(each, tags.get(STACK)) for each, tags in foreign.items()))


def _sentence(resource: str, owner: str | None) -> str:
    name = resource.rpartition(":")[2]
    if owner and owner.rpartition("/")[0] == environment.stack_id().rpartition("/")[0]:
        # A region has one stack of a name at a time. The advice is not to replace the tag: a config keeps the
        # generation of the earlier stack's table, and no run may replace a config with a higher one.
        return (
            f"{name} belongs to an earlier stack of this name ({owner}), which was deleted. Delete {name}, "
            "too, or deploy this stack with another EndpointName."
        )
    if owner:
        # A stack's id ends with stack/NAME/UUID.
        return (
            f"{name} belongs to the stack {owner.partition('/')[2].partition('/')[0]} ({owner}). Deploy this "
            "stack with another EndpointName."
        )
    return (
        f"{name} belongs to no stack: it has no tag {STACK}. If an earlier version of this stack created it, "
        f"run `aws sagemaker add-tags --resource-arn {resource} --tags Key={STACK},Value="
        f"{environment.stack_id()}`. Otherwise, deploy this stack with another EndpointName."
    )
