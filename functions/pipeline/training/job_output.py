"""What a training job left beside its model: metrics.json, with curve, comparison and samples, in
output.tar.gz.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from contracts.training import Trained
from core import aws
from core.errors import code_of

# metrics.json has some hundred bytes for each epoch, the training curve's picture some ten thousand in all.
_LARGEST = 32 * 1024**2


def metrics(trained: Trained) -> Mapping[str, Any]:
    """metrics.json's content; empty where the job's scripts left none, or none that can be read."""
    bucket, _, key = trained.model_artifacts.removeprefix("s3://").partition("/")
    output = f"{key.rpartition('/')[0]}/output.tar.gz"
    try:
        answer = aws.s3().get_object(Bucket=bucket, Key=output)
    except ClientError as error:
        # Without the permission to list a bucket, S3 answers AccessDenied for an object that is not there.
        if code_of(error) not in ("NoSuchKey", "AccessDenied"):
            raise
        return {}
    if answer["ContentLength"] > _LARGEST:
        return {}
    try:
        with tarfile.open(fileobj=io.BytesIO(answer["Body"].read()), mode="r:gz") as archive:
            file = archive.extractfile("metrics.json")
            document = json.loads(file.read(_LARGEST)) if file else {}
    except (tarfile.TarError, zlib.error, EOFError, KeyError, OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
