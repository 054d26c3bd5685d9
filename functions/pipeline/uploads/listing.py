"""The uploaded objects that form a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from core.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class UploadedObject:
    """One line of the listing; `etag` without its quotes."""

    key: str
    etag: str
    size: int
    modified: datetime


def listed(s3: S3Client, bucket: str, dataset: str) -> list[UploadedObject]:
    """Return all objects of a dataset, in the order of their keys."""
    with translated():
        return [
            UploadedObject(item["Key"], item["ETag"].strip('"'), item["Size"], item["LastModified"])
            for page in s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=f"uploads/{dataset}/"
            )
            for item in page.get("Contents", [])
        ]
