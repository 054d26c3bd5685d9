"""The condition key dynamodb:LeadingKeys.

AWS: the key contains the partition keys that a request names. A policy can so limit a role to its own items
of a table.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
MiniStack: it does not know the key. A condition on the key refuses every request; with ForAllValues, which
AWS recommends, it refuses none.
Here: the key is added to the context of each request to DynamoDB. A query of an index has no leading keys.
"""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]


def patch() -> None:
    """Add the leading keys to the context of requests to DynamoDB."""
    from ministack.core import iam_actions

    service_context = iam_actions.dynamodb_service_context

    @functools.wraps(service_context)
    def context_with_leading_keys(body: bytes) -> Document:
        context: Document = service_context(body)
        try:
            keys = sorted(set(_leading_keys(json.loads(body or b"{}"))))
        except (AttributeError, LookupError, TypeError, ValueError):
            # DynamoDB itself will refuse this request.
            return context
        return {**context, "dynamodb:LeadingKeys": keys} if keys else context

    iam_actions.dynamodb_service_context = context_with_leading_keys


def _leading_keys(request: Document) -> Iterator[str]:
    """Yield the partition key's value of every item that a request names."""
    if "TransactItems" in request:
        for part in request["TransactItems"]:
            for operation in part.values():
                yield from _leading_keys(operation)
    elif "RequestItems" in request:
        for table, batch in request["RequestItems"].items():
            for item in _batch_items(batch):
                yield from _leading_keys({**item, "TableName": table})
    elif "KeyConditionExpression" in request and "IndexName" not in request:
        names = request.get("ExpressionAttributeNames") or {}
        for name, value in re.findall(r"([#\w.-]+)\s*=\s*(:\w+)", request["KeyConditionExpression"]):
            if names.get(name, name) == _partition_key(request["TableName"]):
                yield _text(request["ExpressionAttributeValues"][value])
    elif key := request.get("Key") or request.get("Item"):
        yield _text(key[_partition_key(request["TableName"])])


def _batch_items(batch: Any) -> list[Document]:
    """Return the items of one table in BatchGetItem or BatchWriteItem, each with its Key or Item."""
    if isinstance(batch, list):
        return [operation for write in batch for operation in write.values()]
    return [{"Key": key} for key in batch["Keys"]]


def _partition_key(table: str) -> str:
    from ministack.services import dynamodb

    return str(dynamodb._tables[table.rsplit("/", 1)[-1]]["pk_name"])


def _text(value: dict[str, str]) -> str:
    """Return a key's value as policies write it: {"S": "run/1"} as run/1."""
    return next(iter(value.values()))
