"""The scripts that SageMaker runs, packed as a sourcedir.tar.gz and stored under the hash of their content.

The same scripts always make the same bytes, wherever they come from: they are uploaded once, and a run can
say exactly which scripts it used.
"""

import functools
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from botocore.exceptions import ClientError

from core import aws
from core.errors import Misconfigured, ServiceUnavailable, code_of

# A link to the repository's model_scripts/; `sam build` packs the files it points to.
SCRIPTS = Path(__file__).parents[1] / "model_scripts"
LONGEST_PATH = 100  # bytes that a ustar header holds


def is_script(path: str) -> bool:
    """Return whether a file is packed: *.py, config.yaml (for Ray Serve) or requirements.txt."""
    file = PurePosixPath(path)
    wanted = file.suffix == ".py" or file.name in ("config.yaml", "requirements.txt")
    return wanted and "__pycache__" not in file.parts


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a gzipped tar of `files`; the same files make the same bytes.

    Args:
        files: Content by relative path, with forward slashes and at most LONGEST_PATH bytes.
    """
    buffer = io.BytesIO()
    # No time and no name in the gzip header: both would change the bytes.
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@functools.cache
def own(folder: Path = SCRIPTS) -> bytes:
    """Return the deployment's own scripts, packed. Raises Misconfigured if there are none."""
    paths = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    files = {path: file.read_bytes() for path, file in paths.items() if is_script(path)}
    if not files:
        raise Misconfigured(f"There are no scripts in {folder}. Build and deploy template.yaml again.")
    return pack(files)


def upload(bucket: str, packed: bytes) -> tuple[str, str]:
    """Store packed scripts in the bucket unless they are there already.

    Returns:
        Their S3 URI and the SHA-256 of the package.
    """
    sha256 = hashlib.sha256(packed).hexdigest()
    key = f"code/{sha256}/sourcedir.tar.gz"
    uri = f"s3://{bucket}/{key}"
    try:
        aws.s3().put_object(
            Bucket=bucket, Key=key, Body=packed, IfNoneMatch="*", ContentType="application/gzip"
        )
    except ClientError as error:
        if code_of(error) == "ConditionalRequestConflict":
            # Another run writes the same object at this moment, and may fail.
            raise ServiceUnavailable(f"Another run is writing {uri}. Start again.") from error
        if code_of(error) != "PreconditionFailed":
            raise
    return uri, sha256
