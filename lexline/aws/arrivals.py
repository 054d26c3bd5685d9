"""The run that gathers the uploads of a dataset before it begins."""

from __future__ import annotations

from lexline.aws.stack import Stack


def gatherer(stack: Stack, dataset: str) -> str | None:
    """Return the ARN of the execution that gathers a dataset's uploads, or None.

    That execution lists the dataset's objects only after it has stopped gathering. So it reads all files
    whose upload has ended before this function is called.
    """
    key = {"resource": {"S": f"dataset/{dataset}"}}
    response = stack.target.dynamodb.get_item(TableName=stack.table, Key=key, ConsistentRead=True)
    return response.get("Item", {}).get("execution", {}).get("S")
