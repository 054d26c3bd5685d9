"""The DynamoDB table: items by their key `resource`, with consistent reads and conditional writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from core import aws, environment
from core.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, UpdateItemInputTypeDef

    Item = Mapping[str, AttributeValueTypeDef]


def get(key: str) -> Item:
    """Return the item, or an empty one if it does not exist. The read is consistent."""
    return (
        aws.dynamodb()
        .get_item(TableName=environment.table(), Key={"resource": {"S": key}}, ConsistentRead=True)
        .get("Item", {})
    )


def write(
    key: str,
    update: str,
    values: Item,
    *,
    condition: str = "",
    names: Mapping[str, str] | None = None,
) -> bool:
    """Update the item if the condition holds.

    Args:
        key: the item's key; an item that does not exist is created.
        update: an UpdateExpression. Write every attribute as `#name`, so that DynamoDB's reserved words do
            not matter.
        values: the expressions' values, by `:name`.
        condition: a ConditionExpression.
        names: for each `#name` that stands for another attribute, that attribute's name.

    Returns:
        False if the condition did not hold.
    """
    used = set(re.findall(r"#(\w+)", f"{update} {condition}"))
    request: UpdateItemInputTypeDef = {
        "TableName": environment.table(),
        "Key": {"resource": {"S": key}},
        "UpdateExpression": update,
        "ExpressionAttributeNames": {f"#{name}": (names or {}).get(name, name) for name in used},
    }
    if values:
        request["ExpressionAttributeValues"] = values
    if condition:
        request["ConditionExpression"] = condition
    with aws.allowing(condition_failed):
        aws.dynamodb().update_item(**request)
        return True
    return False


def condition_failed(error: ClientError) -> bool:
    """Return whether the error says that a write's condition did not hold."""
    return code_of(error) == "ConditionalCheckFailedException"


def number(value: float) -> AttributeValueTypeDef:
    """Return a number as a DynamoDB value."""
    return {"N": str(value)}


def text(item: Item, name: str) -> str | None:
    """Return an item's string attribute, or None if the item has no such attribute."""
    return item.get(name, {}).get("S")


def seconds(item: Item, name: str) -> float:
    """Return an item's number attribute, or 0 if the item has no such attribute."""
    return float(item.get(name, {}).get("N", 0))
