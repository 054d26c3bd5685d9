"""The DynamoDB table: items by their key `resource`, with consistent reads and conditional writes.

Attributes are plain values: texts, numbers, sets of texts, and mappings.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from core import aws, environment
from core.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import UpdateItemInputTypeDef

Item = Mapping[str, Any]


class _Serializer(TypeSerializer):
    def serialize(self, value: Any) -> Any:
        return super().serialize(Decimal(str(value)) if isinstance(value, float) else value)


class _Deserializer(TypeDeserializer):
    def _deserialize_n(self, value: str) -> float:
        return float(value)


def get(key: str) -> Item:
    """Return the item, or an empty one if it does not exist. The read is consistent."""
    response = aws.dynamodb().get_item(
        TableName=environment.table(), Key={"resource": {"S": key}}, ConsistentRead=True
    )
    return {name: _Deserializer().deserialize(value) for name, value in response.get("Item", {}).items()}


def write(key: str, update: str, values: Item, *, condition: str = "", run: str = "run") -> bool:
    """Update the item if the condition holds.

    Args:
        key: the item's key; an item that does not exist is created.
        update: an UpdateExpression. Write every attribute as `#name`, so that DynamoDB's reserved words do
            not matter.
        values: values by `:name`; those that no expression mentions are left out.
        condition: a ConditionExpression.
        run: the name of the attribute for which `#run` stands.

    Returns:
        False if the condition did not hold.
    """
    expressions = f"{update} {condition}"
    used = set(re.findall(r"#(\w+)", expressions))
    request: UpdateItemInputTypeDef = {
        "TableName": environment.table(),
        "Key": {"resource": {"S": key}},
        "UpdateExpression": update,
        "ExpressionAttributeNames": {f"#{name}": run if name == "run" else name for name in used},
    }
    # DynamoDB refuses values, and a mapping of values, that no expression needs.
    if needed := set(re.findall(r":\w+", expressions)):
        serializer = _Serializer()
        request["ExpressionAttributeValues"] = {name: serializer.serialize(values[name]) for name in needed}
    if condition:
        request["ConditionExpression"] = condition
    return aws.or_none(lambda: aws.dynamodb().update_item(**request), condition_failed) is not None


def condition_failed(error: ClientError) -> bool:
    """Return whether the error says that a write's condition did not hold."""
    return code_of(error) == "ConditionalCheckFailedException"
