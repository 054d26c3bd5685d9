"""The uploaded objects that form a dataset: the newest one, or the set of three that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from core.errors import DatasetEmpty, DatasetNotFound, SplitIncomplete, translated
from uploads.file_names import SPLIT_NAMES, SplitName, is_incidental, role_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class UploadedObject:
    """One line of the listing; `etag` without its quotes."""

    key: str
    etag: str
    size: int
    modified: datetime


def objects(s3: S3Client, bucket: str, dataset: str) -> list[UploadedObject]:
    """Return a dataset's objects, oldest first, without hidden files, READMEs and the like."""
    prefix = f"uploads/{dataset}/"
    found = [
        item
        for item in listed(s3, bucket, dataset)
        if not item.key.endswith("/") and not is_incidental(item.key.removeprefix(prefix))
    ]
    return sorted(found, key=lambda item: (item.modified, item.key))


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


def choose(
    listed: Sequence[UploadedObject], bucket: str, dataset: str
) -> Mapping[SplitName | None, UploadedObject]:
    """Return the objects to prepare, of those that `objects` returned.

    The newest object decides. If its name says train, valid or test, the dataset is the set of three that it
    belongs to, each the newest of its kind.

    Returns:
        One object for each split; or the only object, under None, which is to be split.

    Raises:
        DatasetNotFound: There are no objects.
        SplitIncomplete: A file of the set is missing.
        DatasetEmpty: A chosen object is empty.
    """
    if not listed:
        raise DatasetNotFound(
            f"There is no object under s3://{bucket}/uploads/{dataset}/ (hidden files, READMEs and licences "
            "do not count). Upload a corpus there, or correct the dataset's name."
        )
    chosen: dict[SplitName | None, UploadedObject] = {None: listed[-1]}
    if newest := role_of(listed[-1].key):
        roles = [(role_of(item.key), item) for item in listed]
        found = {role.split: item for role, item in roles if role and role.family == newest.family}
        if missing := " and ".join(split for split in SPLIT_NAMES if split not in found):
            uris = ", ".join(f"s3://{bucket}/{item.key}" for item in found.values())
            raise SplitIncomplete(
                f"{uris} came without {missing}. Upload what is missing, or, to have one corpus split "
                "90/5/5, upload it under a name without train, valid or test."
            )
        chosen = {split: found[split] for split in SPLIT_NAMES}
    for item in chosen.values():
        if not item.size:
            raise DatasetEmpty(f"s3://{bucket}/{item.key} is empty (0 bytes). Upload it with its text.")
    return chosen
