"""Which uploaded objects form a dataset: the one put there last, or the set of three that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from contracts import NotPrepared, Upload
from errors import DatasetEmpty, DatasetNotFound, SplitIncomplete, translated
from file_names import SPLIT_NAMES, SplitName, is_incidental, role_of

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

    @property
    def newest(self) -> UploadedObject:
        return max(self.objects.values(), key=_age)


def find_objects(
    s3: S3Client, bucket: str, dataset: str, upload: Upload | None
) -> SingleObject | SplitSet | NotPrepared:
    """The objects to prepare for a run started by name (`upload` None) or by an upload.

    The newest object under uploads/<dataset>/ decides (ties: the later key), hidden files and READMEs
    aside. If it is named as train, valid or test, the dataset is the set of three it belongs to, each the
    newest of its kind.

    An upload's run gives way (`superseded`) if its object was replaced, or the newest object is neither it
    nor one of its set; it ends as `waiting` while its set is incomplete. Within a complete set the upload's
    age does not matter: S3 dates a multipart upload to its start, so the file that completes the set may be
    its oldest.

    The upload of a file that is no corpus by its name is `ignored`.

    Raises DatasetNotFound, DatasetEmpty, and SplitIncomplete when a run started by name finds an incomplete
    set.
    """
    prefix = f"uploads/{dataset}/"
    if upload is not None and _passed_over(upload.key.removeprefix(prefix)):
        reason = f"s3://{bucket}/{upload.key} is no corpus: hidden files, READMEs and licences never are."
        return NotPrepared(outcome="ignored", dataset=dataset, reason=reason)
    listed = _listed(s3, bucket, prefix)
    if upload is not None and (replaced := _replaced(listed, upload)):
        return NotPrepared(outcome="superseded", dataset=dataset, reason=replaced)
    if not listed:
        raise DatasetNotFound(
            f"There is no object under s3://{bucket}/{prefix} (hidden files, READMEs and licences do not "
            "count). Upload a corpus there, or correct the dataset's name."
        )
    newest = max(listed, key=_age)
    role = role_of(newest.key)
    if role is None:
        if upload is not None and newest.key != upload.key:
            return _superseded(dataset, upload, newest)
        return SingleObject(_not_empty(bucket, newest))
    found: dict[SplitName, UploadedObject] = {}
    for candidate in sorted(listed, key=_age):
        candidate_role = role_of(candidate.key)
        if candidate_role and candidate_role.family == role.family:
            found[candidate_role.split] = candidate
    if upload is not None and upload.key not in {item.key for item in found.values()}:
        return _superseded(dataset, upload, newest)
    missing = " and ".join(split for split in SPLIT_NAMES if split not in found)
    if missing:
        there = ", ".join(f"s3://{bucket}/{item.key}" for item in found.values())
        reason = (
            f"{there}: here, but no {missing} beside it. Upload what is missing, or, to have one corpus "
            "split 90/5/5, upload it under a name without train, valid or test."
        )
        if upload is None:
            raise SplitIncomplete(reason)
        return NotPrepared(outcome="waiting", dataset=dataset, reason=reason)
    return SplitSet({split: _not_empty(bucket, found[split]) for split in SPLIT_NAMES})


def _age(item: UploadedObject) -> tuple[datetime, str]:
    return item.modified, item.key


def _passed_over(path: str) -> bool:
    is_folder = not path or path.endswith("/")
    return is_folder or is_incidental(path)


def _listed(s3: S3Client, bucket: str, prefix: str) -> Sequence[UploadedObject]:
    found = []
    with translated():
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            found += [
                UploadedObject(item["Key"], item["ETag"].strip('"'), item["Size"], item["LastModified"])
                for item in page.get("Contents", [])
                if not _passed_over(item["Key"].removeprefix(prefix))
            ]
    return found


def _replaced(listed: Sequence[UploadedObject], upload: Upload) -> str | None:
    """Why the uploaded object is not the one that started the run any more; None if it still is."""
    uri = f"s3://{upload.bucket}/{upload.key}"
    now = next((item for item in listed if item.key == upload.key), None)
    if now is None and listed:
        return f"{uri} was deleted after its upload."
    if now is None:
        raise DatasetNotFound(f"{uri} was deleted after its upload; upload it again.")
    if now.etag != upload.etag.strip('"'):
        return f"{uri} was uploaded again since; that upload has its own run."
    return None


def _superseded(dataset: str, upload: Upload, newest: UploadedObject) -> NotPrepared:
    reason = f"{newest.key} was uploaded after {upload.key}; that upload has its own run."
    return NotPrepared(outcome="superseded", dataset=dataset, reason=reason)


def _not_empty(bucket: str, item: UploadedObject) -> UploadedObject:
    if not item.size:
        raise DatasetEmpty(f"s3://{bucket}/{item.key} is empty (0 bytes). Upload it with its text.")
    return item
