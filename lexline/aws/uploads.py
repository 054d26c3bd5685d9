"""Upload the files of a dataset to S3, which starts a run, and delete files of a dataset."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from lexline.aws.stack import Stack
from lexline.core.errors import UserError
from lexline.core.local_files import LocalFile

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

ROOT = "uploads/"
"""The folder of the bucket with a folder for each dataset."""
ORIGINAL_NAME = "dataset-name"
"""The metadata of an object that has the name from which its dataset's name was made."""
_AT_ONCE = 8
"""How many files are uploaded at the same time. boto3 divides large files further."""
_MOST_DELETED_AT_ONCE = 1000


@dataclass(frozen=True)
class Uploaded:
    """An object in S3 after an upload."""

    key: str
    etag: str
    version_id: str


def upload(
    stack: Stack, dataset: str, original: str, files: Sequence[LocalFile], progress: Callable[[int], None]
) -> Uploaded:
    """Upload files to the folder of a dataset, and return the one that was uploaded last.

    Args:
        stack: The stack to upload to.
        dataset: Name of the dataset.
        original: The name from which the dataset's name was made. It is stored with each object.
        files: At least one file.
        progress: Called after each part of a file with the number of bytes in it, from several threads.
    """
    extra = {"Metadata": {ORIGINAL_NAME: quote(original)}} if original != dataset else None
    stopped = threading.Event()

    def report(count: int) -> None:
        # The only way to stop boto3 in the middle of a file.
        if stopped.is_set():
            raise InterruptedError("The upload was stopped.")
        progress(count)

    def send(file: LocalFile) -> str:
        key = f"{ROOT}{dataset}/{file.name}"
        stack.target.s3.upload_file(str(file.path), stack.bucket, key, ExtraArgs=extra, Callback=report)
        return key

    # One file is uploaded after all others, so that the run that it starts reads all of them. The largest one
    # is a text, if there is any: a README would start no run.
    last = max(files, key=lambda file: file.size)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for sent in [pool.submit(send, file) for file in files if file is not last]:
                sent.result()
            key = pool.submit(send, last).result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    head = stack.target.s3.head_object(Bucket=stack.bucket, Key=key)
    return Uploaded(key, head["ETag"].strip('"'), head.get("VersionId", ""))


def newest(stack: Stack) -> tuple[Uploaded, datetime] | None:
    """Return the newest uploaded object, and when it was uploaded; None if there is none in a dataset."""
    pages = stack.target.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, Prefix=ROOT)
    objects = [each for page in pages for each in page.get("Contents", []) if each["Key"].count("/") > 1]
    if not objects:
        return None
    last = max(objects, key=lambda each: each["LastModified"])
    # A listing has no versions. Key and ETag are enough to know an upload of the last minutes.
    return Uploaded(last["Key"], last["ETag"].strip('"'), ""), last["LastModified"]


def delete(stack: Stack, dataset: str, names: Sequence[str]) -> None:
    """Delete files of a dataset. The bucket keeps their versions for some time.

    Raises:
        UserError: S3 did not delete all of them.
    """
    failed: list[str] = []
    for start in range(0, len(names), _MOST_DELETED_AT_ONCE):
        some = names[start : start + _MOST_DELETED_AT_ONCE]
        objects: list[ObjectIdentifierTypeDef] = [{"Key": f"{ROOT}{dataset}/{name}"} for name in some]
        response = stack.target.s3.delete_objects(
            Bucket=stack.bucket, Delete={"Objects": objects, "Quiet": True}
        )
        failed += [f"{each.get('Key', '')}: {each.get('Message', '')}" for each in response.get("Errors", [])]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(names)} earlier files of dataset {dataset} could not be deleted: "
            f"{'; '.join(failed[:3])}",
            "Run the same command again to replace the rest.",
        )
