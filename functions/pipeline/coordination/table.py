"""The DynamoDB table: items by their key `resource`, read as they are now and written under a condition."""

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
    """The item, consistently read; empty when there is none."""
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
    """Update the item if the condition holds; False if it does not.

    `#name` in an expression is the attribute of that name, unless `names` says otherwise: so no attribute
    needs to mind DynamoDB's reserved words.
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
    try:
        aws.dynamodb().update_item(**request)
    except ClientError as error:
        if code_of(error) != "ConditionalCheckFailedException":
            raise
        return False
    return True


def number(value: float) -> AttributeValueTypeDef:
    """A number as DynamoDB takes it."""
    return {"N": str(value)}


def text(item: Item, name: str) -> str | None:
    """An item's text, or None."""
    return item.get(name, {}).get("S")


def seconds(item: Item, name: str) -> float:
    """An item's number, 0 where there is none."""
    return float(item.get(name, {}).get("N", 0))
