"""Which uploaded objects form a dataset: the one put there last, or the set of three that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from contracts.dataset import NotPrepared
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


@dataclass(frozen=True)
class SingleObject:
    object: UploadedObject


@dataclass(frozen=True)
class SplitSet:
    objects: Mapping[SplitName, UploadedObject]


def find_objects(
    s3: S3Client, bucket: str, dataset: str, *, uploaded: bool
) -> SingleObject | SplitSet | NotPrepared:
    """The objects to prepare, for a run started by an upload (`uploaded`) or by the dataset's name.

    The newest object under uploads/<dataset>/ decides (ties: the later key), hidden files and READMEs
    aside. If it is named as train, valid or test, the dataset is the set of three it belongs to, each the
    newest of its kind.

    An incomplete set is `waiting` after an upload, since the rest may yet come.

    Raises DatasetNotFound, DatasetEmpty, and SplitIncomplete when a run started by name finds an incomplete
    set.
    """
    prefix = f"uploads/{dataset}/"
    listed = _listed(s3, bucket, prefix)
    if not listed:
        raise DatasetNotFound(
            f"There is no object under s3://{bucket}/{prefix} (hidden files, READMEs and licences do not "
            "count). Upload a corpus there, or correct the dataset's name."
        )
    newest = max(listed, key=_age)
    role = role_of(newest.key)
    if role is None:
        return SingleObject(_not_empty(bucket, newest))
    found: dict[SplitName, UploadedObject] = {}
    for candidate in sorted(listed, key=_age):
        candidate_role = role_of(candidate.key)
        if candidate_role and candidate_role.family == role.family:
            found[candidate_role.split] = candidate
    missing = " and ".join(split for split in SPLIT_NAMES if split not in found)
    if missing:
        there = ", ".join(f"s3://{bucket}/{item.key}" for item in found.values())
        reason = (
            f"{there}: here, but no {missing} beside it. Upload what is missing, or, to have one corpus "
            "split 90/5/5, upload it under a name without train, valid or test."
        )
        if not uploaded:
            raise SplitIncomplete(reason)
        return NotPrepared(outcome="waiting", dataset=dataset, reason=reason)
    return SplitSet({split: _not_empty(bucket, found[split]) for split in SPLIT_NAMES})


def objects(s3: S3Client, bucket: str, dataset: str) -> list[UploadedObject]:
    """All there is of a dataset, but for what is no corpus by its name."""
    return _listed(s3, bucket, f"uploads/{dataset}/")


def _age(item: UploadedObject) -> tuple[datetime, str]:
    return item.modified, item.key


def _passed_over(path: str) -> bool:
    is_folder = not path or path.endswith("/")
    return is_folder or is_incidental(path)


def _listed(s3: S3Client, bucket: str, prefix: str) -> list[UploadedObject]:
    found: list[UploadedObject] = []
    with translated():
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            found += [
                UploadedObject(item["Key"], item["ETag"].strip('"'), item["Size"], item["LastModified"])
                for item in page.get("Contents", [])
                if not _passed_over(item["Key"].removeprefix(prefix))
            ]
    return found


def _not_empty(bucket: str, item: UploadedObject) -> UploadedObject:
    if not item.size:
        raise DatasetEmpty(f"s3://{bucket}/{item.key} is empty (0 bytes). Upload it with its text.")
    return item
