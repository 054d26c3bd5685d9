"""The prepare step against the local cloud's S3: what its unit tests' bucket claims, S3 does."""

import gzip
import io
import tarfile
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config

from uploads import prepared_folder
from core import aws, errors
from localcloud.control import LocalCloud
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.uploads.prepare_s3 import run_prepare

TALE = "".join(f"{number} the fox met a crow and said nothing\n" for number in range(1, 301)).encode()


@pytest.fixture
def s3(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of S3 for one test, which may hook into it, with a new versioned bucket that is the step's."""
    found = cloud.client("s3", config=Config())  # One with a config is nobody else's.
    bucket = f"prepare-{uuid.uuid4().hex[:12]}"
    found.create_bucket(Bucket=bucket)
    found.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    monkeypatch.setenv("BUCKET", bucket)
    monkeypatch.setattr(aws, "s3", lambda: found)
    found.bucket = bucket
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """run(upload): the step's answer to a run that holds the lease, started by the upload or by name."""
    table = TableInMemory("waits")
    monkeypatch.setenv("TABLE", "waits")
    monkeypatch.setattr(aws, "dynamodb", lambda: table.client)
    return lambda upload=None: run_prepare(table, upload=upload)


def put(s3: Any, name: str, data: bytes) -> dict[str, Any]:
    """The event of an upload."""
    key = f"uploads/tales/{name}"
    answer = s3.put_object(Bucket=s3.bucket, Key=key, Body=data)
    return {
        "bucket": s3.bucket,
        "key": key,
        "etag": answer["ETag"].strip('"'),
        "size": len(data),
        "version_id": answer["VersionId"],
    }


def written(s3: Any, prepared: dict[str, Any]) -> bytes:
    prefix = prepared["prepared_uri"].removeprefix(f"s3://{s3.bucket}/")
    files = [s3.get_object(Bucket=s3.bucket, Key=prefix + split) for split in ("train", "valid", "test")]
    return b"".join(file["Body"].read() for file in files)


def traces(s3: Any) -> list[str]:
    """Everything under prepared/, other versions, delete markers and open uploads included."""
    asked = {"Bucket": s3.bucket, "Prefix": "prepared/"}
    listing = s3.list_object_versions(**asked)
    found = [*listing.get("Versions", []), *listing.get("DeleteMarkers", [])]
    return [item["Key"] for item in [*found, *s3.list_multipart_uploads(**asked).get("Uploads", [])]]


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tales/part.txt", data)
    return packed.getvalue()


def tarred(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        member = tarfile.TarInfo("tales/part.txt")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", TALE),
        ("a.txt.gz", gzip.compress(TALE)),
        ("a.zip", zipped(TALE)),
        ("a.tar.xz", tarred(TALE)),
    ],
)
def test_an_upload_is_prepared_and_found_again(s3: Any, run: Any, name: str, data: bytes) -> None:
    upload = put(s3, name, data)
    prepared = run(upload)
    assert prepared["outcome"] == "prepared"
    assert prepared["source"][0]["version_id"] == upload["version_id"]
    assert written(s3, prepared) == TALE
    before = traces(s3)
    assert run() == prepared
    assert traces(s3) == before


def test_a_split_of_several_parts_is_put_together_by_s3(
    s3: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_folder, "PART_BYTES", 5 * 1024**2)
    text = TALE * 1000
    put(s3, "a.txt", text)
    assert written(s3, run()) == text


def test_an_object_replaced_while_it_is_read_is_noticed(
    s3: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploads.object_reader.FIRST_RANGE", 4096)
    monkeypatch.setattr("uploads.object_reader.LARGEST_RANGE", 4096)
    upload = put(s3, "a.txt", TALE)
    replacements = [TALE * 2, TALE * 3]
    due = [True]

    def replace(**_: Any) -> None:
        if due.pop():
            put(s3, "a.txt", replacements.pop())
        due.append(False)

    s3.meta.events.register("after-call.s3.GetObject", replace)
    with pytest.raises(errors.DatasetReplaced):
        run(upload)
    due[:] = [True]
    with pytest.raises(errors.DatasetReplaced):
        run()
    assert traces(s3) == []


def test_a_failure_at_the_very_end_leaves_no_version_and_no_open_upload(s3: Any, run: Any) -> None:
    put(s3, "a.txt", TALE)

    def refuse(**_: Any) -> None:
        raise errors.ServiceUnavailable("the manifest could not be written")

    s3.meta.events.register("before-call.s3.PutObject", refuse)
    with pytest.raises(errors.ServiceUnavailable):
        run()
    assert traces(s3) == []


def test_of_two_runs_at_once_the_first_manifest_stands(s3: Any, run: Any) -> None:
    put(s3, "a.txt", TALE)
    faster: list[dict[str, Any]] = []

    def other_run(**_: Any) -> None:
        if not faster:
            faster.append({})
            faster[0] = run()

    s3.meta.events.register("before-call.s3.PutObject", other_run)
    assert run() == faster[0]
    assert written(s3, faster[0]) == TALE
