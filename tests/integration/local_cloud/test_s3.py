"""S3: where the local cloud keeps the bodies of objects."""

from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from benchmarks.memory import anonymous_bytes
from tests.integration.lab import Lab, unique

MIB = 2**20
LARGE = 16 * MIB


@pytest.fixture
def s3(lab: Lab) -> Any:
    return lab.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    """A versioned bucket, as the pipeline's is."""
    name = unique("bucket")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def test_objects_of_a_versioned_bucket_are_not_kept_in_memory(lab: Lab, s3: Any, bucket: str) -> None:
    server = psutil.Process(lab.cloud.pid)
    s3.put_object(Bucket=bucket, Key="first", Body=b"x" * LARGE)
    before = anonymous_bytes(server)
    for number in range(12):
        s3.put_object(Bucket=bucket, Key=f"large/{number}", Body=b"x" * LARGE)
    assert anonymous_bytes(server) < before + 6 * LARGE


def test_every_version_of_an_object_keeps_its_content(s3: Any, bucket: str) -> None:
    def content(version: str | None = None) -> bytes:
        of_version = {"VersionId": version} if version else {}
        return bytes(s3.get_object(Bucket=bucket, Key="text", **of_version)["Body"].read())

    texts = [b"first", b"second", b"third"]
    versions = [s3.put_object(Bucket=bucket, Key="text", Body=text)["VersionId"] for text in texts]
    assert [content(version) for version in versions] == texts
    s3.delete_object(Bucket=bucket, Key="text", VersionId=versions[2])
    assert content() == b"second"
    marker = s3.delete_object(Bucket=bucket, Key="text")["VersionId"]
    assert [content(version) for version in versions[:2]] == texts[:2]
    s3.delete_object(Bucket=bucket, Key="text", VersionId=marker)
    assert content() == b"second"
    s3.copy_object(
        Bucket=bucket, Key="text", CopySource={"Bucket": bucket, "Key": "text", "VersionId": versions[0]}
    )
    assert content() == b"first"


def test_an_object_from_before_its_bucket_had_versions_keeps_its_content(s3: Any) -> None:
    bucket = unique("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="text", Body=b"old")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="text", Body=b"new")
    assert s3.get_object(Bucket=bucket, Key="text", VersionId="null")["Body"].read() == b"old"


@pytest.mark.parametrize(
    ("asked", "found"), [("0-0", b"0"), ("3-5", b"345"), ("7-99", b"789"), ("5-", b"56789"), ("-2", b"89")]
)
def test_a_range_is_a_part_of_the_object(s3: Any, bucket: str, asked: str, found: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    response = s3.get_object(Bucket=bucket, Key="digits", Range=f"bytes={asked}")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert response["ContentRange"].endswith("/10")
    assert response["Body"].read() == found


@pytest.mark.parametrize("size", [0, 10])
def test_a_range_beyond_the_end_is_refused(s3: Any, bucket: str, size: int) -> None:
    s3.put_object(Bucket=bucket, Key="digits", Body=b"x" * size)
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=bucket, Key="digits", Range="bytes=10-12")


def test_a_version_can_be_read_with_a_range(s3: Any, bucket: str) -> None:
    version = s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")["VersionId"]
    response = s3.get_object(Bucket=bucket, Key="digits", VersionId=version, Range="bytes=0-99")
    assert response["Body"].read() == b"0123456789"
