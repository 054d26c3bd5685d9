"""The user's own price table in the bucket, which the pipeline uses for its cost estimates."""

from __future__ import annotations

from lexline.aws.stack import Stack

KEY = "prices.json"
"""The object that the pipeline reads."""


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
