"""Delete objects of the bucket for good: every version, and every delete marker."""

import math
import time

from core import aws
from core.errors import RequestRefused, ServiceUnavailable


def delete_versions(bucket: str, prefix: str = "", *, kept: str = "", deadline: float = math.inf) -> int:
    """Delete every version of the objects whose keys begin with the prefix.

    Args:
        bucket: the bucket.
        prefix: the beginning of the keys; empty for all.
        kept: the beginning of the keys that stay.
        deadline: the latest `time.monotonic()` at which to go on.

    Returns:
        How many versions and delete markers were deleted.

    Raises:
        ServiceUnavailable: the deadline has passed.
        RequestRefused: S3 did not delete an object; the message says why.
    """
    s3, deleted = aws.s3(), 0
    # A page has at most 1,000 versions, which is also the limit of DeleteObjects.
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        versions = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
            if not kept or not each["Key"].startswith(kept)
        ]
        if not versions:
            continue
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"Bucket {bucket} is not empty yet. Delete the stack again.")
        response = s3.delete_objects(
            Bucket=bucket,
            Delete={"Objects": versions, "Quiet": True},  # type: ignore[typeddict-item]
        )
        if errors := response.get("Errors"):
            first = errors[0]
            raise RequestRefused(
                f"DeleteObjects: s3://{bucket}/{first.get('Key')}: {first.get('Message')} "
                f"({first.get('Code')})"
            )
        deleted += len(versions)
    return deleted
