"""The price table of the pipeline's cost estimates: the user's own in the bucket, or list prices."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from lexline.aws import history
from lexline.aws.stack import Stack
from lexline.core import paths

KEY = "prices.json"
"""The object that the pipeline reads."""


def current(stack: Stack) -> dict[str, Any]:
    """Return the price table that estimates of the next runs use: the user's own, or the list prices.

    A table that cannot be read is not used, as in the pipeline.
    """
    try:
        own = stack.target.s3.get_object(Bucket=stack.bucket, Key=KEY)["Body"].read()
    except ClientError as error:
        # S3 also says AccessDenied for an object that does not exist to those who may not list the bucket.
        if error.response["Error"]["Code"] not in ("NoSuchKey", "AccessDenied"):
            raise
        own = b""
    for content in (
        own.decode(errors="replace"),
        (paths.repository() / paths.PRICE_TABLE).read_text("utf-8"),
    ):
        table = history.parsed(content)
        if isinstance(table, dict) and all(
            isinstance(table.get(part), dict) for part in ("training", "hosting")
        ):
            return table
    return {}


def upload(stack: Stack, table: bytes) -> str:
    """Upload a table for the cost estimates of later runs, and return its S3 URI."""
    stack.target.s3.put_object(Bucket=stack.bucket, Key=KEY, Body=table, ContentType="application/json")
    return uri(stack)


def uploaded(stack: Stack) -> bool:
    """Check whether the bucket has a table of the user's own."""
    response = stack.target.s3.list_objects_v2(Bucket=stack.bucket, Prefix=KEY)
    return any(item["Key"] == KEY for item in response.get("Contents", []))


def uri(stack: Stack) -> str:
    """Return the S3 URI of the user's own table, whether it exists or not."""
    return f"s3://{stack.bucket}/{KEY}"
