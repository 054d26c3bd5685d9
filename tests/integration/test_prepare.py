"""The step Prepare against the local cloud's S3, an implementation that is not ours."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from core import aws, errors
from localcloud.control import LocalCloud
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.uploads.prepare_step import SPLITS, run_prepare, tale, tarred, zipped
from uploads import object_reader, prepared_folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TALE = tale(300).encode()


class Bucket:
    """A new versioned bucket, which Prepare uses. Its client is shared with no other test."""

    def __init__(self, s3: S3Client) -> None:
        self.s3 = s3
        self.name = f"prepare-{uuid.uuid4().hex[:12]}"
        s3.create_bucket(Bucket=self.name)
        s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        self.table = TableInMemory("waits")

    def put(self, name: str, data: bytes) -> dict[str, Any]:
        """Upload an object of the dataset tales and return the event of the upload."""
        key = f"uploads/tales/{name}"
        response = self.s3.put_object(Bucket=self.name, Key=key, Body=data)
        etag, version = response["ETag"].strip('"'), response["VersionId"]
        return {"bucket": self.name, "key": key, "etag": etag, "size": len(data), "version_id": version}

    def run(self, upload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return run_prepare(self.table, upload=upload)

    def text(self, prepared: Mapping[str, Any]) -> bytes:
        prefix = prepared["prepared_uri"].removeprefix(f"s3://{self.name}/")
        objects = [self.s3.get_object(Bucket=self.name, Key=prefix + split) for split in SPLITS]
        return b"".join(each["Body"].read() for each in objects)

    def traces(self) -> list[str]:
        """Return everything under prepared/: all versions, delete markers and open uploads."""
        listing = self.s3.list_object_versions(Bucket=self.name, Prefix="prepared/")
        uploads = self.s3.list_multipart_uploads(Bucket=self.name, Prefix="prepared/")
        found = [*listing.get("Versions", []), *listing.get("DeleteMarkers", []), *uploads.get("Uploads", [])]
        return [item["Key"] for item in found]


@pytest.fixture
def bucket(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    found = Bucket(cloud.client("s3", config=Config()))  # A client with a config is not shared.
    monkeypatch.setenv("BUCKET", found.name)
    monkeypatch.setenv("TABLE", "waits")
    monkeypatch.setattr(aws, "s3", lambda: found.s3)
    monkeypatch.setattr(aws, "dynamodb", lambda: found.table.client)
    return found


@pytest.mark.parametrize(
    "pack", [gzip.compress, lambda text: zipped({"a.txt": text}), lambda text: tarred({"a": text}, "w:xz")]
)
def test_an_upload_is_prepared_in_parts_and_found_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(prepared_folder, "PART_BYTES", 5 * 1024**2)
    text = TALE * 1000
    upload = bucket.put("a", pack(text))
    prepared = bucket.run(upload)
    assert prepared["source"][0]["version_id"] == upload["version_id"]
    assert bucket.text(prepared) == text
    before = bucket.traces()
    assert bucket.run() == prepared
    assert bucket.traces() == before


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_reader, "FIRST_RANGE", 4096)
    monkeypatch.setattr(object_reader, "LARGEST_RANGE", 4096)
    upload = bucket.put("a.txt", TALE)

    def replace(**_: object) -> None:
        bucket.s3.meta.events.unregister("after-call.s3.GetObject", replace)
        bucket.put("a.txt", TALE * 2)

    bucket.s3.meta.events.register("after-call.s3.GetObject", replace)
    with pytest.raises(errors.DatasetReplaced):
        bucket.run(upload)
    assert bucket.traces() == []


def test_a_failure_at_the_very_end_leaves_no_version_and_no_open_upload(bucket: Bucket) -> None:
    bucket.put("a.txt", TALE)

    def refuse(**_: object) -> None:
        raise errors.ServiceUnavailable("the manifest could not be written")

    bucket.s3.meta.events.register("before-call.s3.PutObject", refuse)
    with pytest.raises(errors.ServiceUnavailable):
        bucket.run()
    assert bucket.traces() == []


def test_the_first_manifest_of_two_runs_at_once_stands(bucket: Bucket) -> None:
    bucket.put("a.txt", TALE)
    faster: list[dict[str, Any]] = []

    def run_another(**_: object) -> None:
        bucket.s3.meta.events.unregister("before-call.s3.PutObject", run_another)
        faster.append(bucket.run())

    bucket.s3.meta.events.register("before-call.s3.PutObject", run_another)
    assert bucket.run() == faster[0]
    assert bucket.text(faster[0]) == TALE
