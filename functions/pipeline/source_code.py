"""The code that SageMaker runs, shipped from this artifact: model_scripts/ as a sourcedir.tar.gz keyed by
content.

The same scripts always make the same bytes, so they are uploaded once and every run says exactly which it
used.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import aws
from botocore.exceptions import ClientError
from errors import Misconfigured, ServiceUnavailable, code_of

# A link to the repository's model_scripts/; `sam build` packs the files it points at.
SCRIPTS = Path(__file__).with_name("model_scripts")


@functools.cache
def archive(folder: Path = SCRIPTS) -> bytes:
    """*.py, config.yaml and requirements.txt of `folder` as a gzipped tar; the same files, the same bytes."""
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and (file.suffix == ".py" or file.name in ("config.yaml", "requirements.txt"))
        and "__pycache__" not in file.parts
    )
    if not files:
        raise Misconfigured(f"There are no scripts in {folder}; build and deploy template.yaml again.")
    buffer = io.BytesIO()
    # mtime=0 and an empty name keep the gzip header constant too.
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for file in files:
            content = file.read_bytes()
            member = tarfile.TarInfo(file.relative_to(folder).as_posix())
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def upload(bucket: str) -> str:
    """Make sure the scripts are in `bucket` and answer their S3 URI."""
    body = archive()
    key = f"code/{hashlib.sha256(body).hexdigest()}/sourcedir.tar.gz"
    try:
        aws.s3().put_object(
            Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ContentType="application/gzip"
        )
    except ClientError as error:
        if code_of(error) == "ConditionalRequestConflict":
            # Another run is writing the same object this moment, and may yet fail at it.
            raise ServiceUnavailable(f"s3://{bucket}/{key} is being written by another run.") from error
        if code_of(error) != "PreconditionFailed":
            raise
    return f"s3://{bucket}/{key}"
