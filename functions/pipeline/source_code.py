"""The code that SageMaker runs, packed as a sourcedir.tar.gz and keyed by content.

It is model_scripts/, shipped in this artifact, or the same files of a Git repository (git_repository.py). The
same scripts always make the same bytes, wherever they come from, so they are uploaded once and every run says
exactly which it used.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePath

from botocore.exceptions import ClientError

from core import aws
from core.errors import Misconfigured, ServiceUnavailable, code_of

# A link to the repository's model_scripts/; `sam build` packs the files it points at.
SCRIPTS = Path(__file__).with_name("model_scripts")


def is_script(path: PurePath) -> bool:
    """Whether a file is packed: *.py, config.yaml (Ray Serve's) and requirements.txt, in any folder."""
    wanted = path.suffix == ".py" or path.name in ("config.yaml", "requirements.txt")
    return wanted and "__pycache__" not in path.parts


def pack(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar of `files`, path to content; the same files, the same bytes.

    Paths are relative, with forward slashes, and of at most 100 bytes: a ustar header holds so many.
    """
    buffer = io.BytesIO()
    # mtime=0 and an empty name keep the gzip header constant too.
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@functools.cache
def archive(folder: Path = SCRIPTS) -> bytes:
    """The scripts of `folder`, packed. Raises Misconfigured where there are none."""
    files = {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and is_script(file.relative_to(folder))
    }
    if not files:
        raise Misconfigured(f"There are no scripts in {folder}; build and deploy template.yaml again.")
    return pack(files)


def upload(bucket: str, packed: bytes | None = None) -> str:
    """Make sure that `packed` scripts, or the stack's own, are in `bucket` and answer their S3 URI."""
    body = archive() if packed is None else packed
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
