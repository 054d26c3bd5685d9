"""Check the files of a corpus and upload them to S3, which starts a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lexline.aws.stack import Stack
from lexline.core.errors import UsageError

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Uploaded:
    """An object in S3 after an upload."""

    key: str
    etag: str
    version_id: str


def check_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files to upload: one corpus, or the three files of a split corpus.

    Args:
        paths: One file, three files, or one folder with three files.

    Raises:
        UsageError: A file is missing or empty, or the number of files is wrong.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"The file {path} does not exist.")
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        if len(files) != 3:
            raise UsageError(
                f"The folder {folder} has {len(files)} files, but a split corpus has three.",
                "It needs train.txt, valid.txt and test.txt. To have one text split for you, give its file.",
            )
        return files
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path} is not a file.")
        if path.stat().st_size == 0:
            raise UsageError(f"The file {path} is empty.")
    if len(paths) not in (1, 3):
        raise UsageError(
            f"A dataset has one file, or three that are already split, but {len(paths)} are given.",
            "Put several texts into one archive (.zip or .tar.gz), or join them with cat.",
        )
    return list(paths)


def dataset_name(name: str | None, paths: Sequence[Path]) -> str:
    """Return the dataset's name: `name`, or else one made from the first path.

    Raises:
        UsageError: The name is invalid.
    """
    if name is None:
        name = re.sub(r"[^A-Za-z0-9-]+", "-", paths[0].name.split(".")[0]).strip("-").lower()
    if not _DATASET.fullmatch(name):
        raise UsageError(
            f'"{name}" is not a valid dataset name.',
            "Give --dataset at most 63 letters, digits, dots, underscores and hyphens, beginning with a "
            "letter or a digit.",
        )
    return name


def upload(stack: Stack, dataset: str, path: Path, progress: Callable[[int], None]) -> Uploaded:
    """Upload one file to the folder of a dataset.

    Args:
        stack: The stack to upload to.
        dataset: Name of the dataset.
        path: The file.
        progress: Called after each part of the file with the number of bytes in it.
    """
    key = f"uploads/{dataset}/{path.name}"
    stack.target.s3.upload_file(str(path), stack.bucket, key, Callback=progress)
    head = stack.target.s3.head_object(Bucket=stack.bucket, Key=key)
    return Uploaded(key, head["ETag"].strip('"'), head.get("VersionId", ""))
