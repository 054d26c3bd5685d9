"""DynamoDB: policies may ask for the partition keys that a request touches.

On AWS the condition key dynamodb:LeadingKeys holds them, so that a role can be kept to its own items of a
table. MiniStack does not know it: such a condition refuses everything, or with ForAllValues (as AWS
recommends it) nothing.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html

A query of an index has none here.
"""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]


def mend() -> None:
    """Add the leading keys to what is known of a request."""
    from ministack.core import iam_actions

    known = iam_actions.dynamodb_service_context

    @functools.wraps(known)
    def context(body: bytes) -> Document:
        found: Document = known(body)
        try:
            keys = sorted(set(_leading_keys(json.loads(body or b"{}"))))
        except (AttributeError, LookupError, TypeError, ValueError):
            # Not a request that DynamoDB would take.
            return found
        return {**found, "dynamodb:LeadingKeys": keys} if keys else found

    iam_actions.dynamodb_service_context = context


def _leading_keys(request: Document) -> Iterator[str]:
    """The value of the partition key of every item that a request names."""
    if "TransactItems" in request:
        for part in request["TransactItems"]:
            for operation in part.values():
                yield from _leading_keys(operation)
    elif "RequestItems" in request:
        for table, asked in request["RequestItems"].items():
            for item in _batch(asked):
                yield from _leading_keys({**item, "TableName": table})
    elif "KeyConditionExpression" in request and "IndexName" not in request:
        names = request.get("ExpressionAttributeNames") or {}
        for name, value in re.findall(r"([#\w.-]+)\s*=\s*(:\w+)", request["KeyConditionExpression"]):
            if names.get(name, name) == _partition_key(request["TableName"]):
                yield _text(request["ExpressionAttributeValues"][value])
    elif key := request.get("Key") or request.get("Item"):
        yield _text(key[_partition_key(request["TableName"])])


def _batch(asked: Any) -> list[Document]:
    """What BatchGetItem or BatchWriteItem asks of one table, each with its Key or Item."""
    if isinstance(asked, list):
        return [operation for write in asked for operation in write.values()]
    return [{"Key": key} for key in asked["Keys"]]


def _partition_key(table: str) -> str:
    from ministack.services import dynamodb

    return str(dynamodb._tables[table.rsplit("/", 1)[-1]]["pk_name"])


def _text(value: dict[str, str]) -> str:
    """A key's value as policies have it: {"S": "run/1"} as run/1."""
    return next(iter(value.values()))
