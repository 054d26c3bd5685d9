"""The S3 bucket in moto, with errors where a test wants them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore import xform_name
from moto.core.botocore_stubber import BotocoreStubber
from moto.s3.models import S3Backend, s3_backends

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_s3 import S3Client

BUCKET = "lexline-test"
_NOON = datetime(2026, 11, 23, 12)  # in UTC, as moto keeps it

Request = Mapping[str, Any]
Hook = Callable[[Request], None]
Versioning = Literal["", "Enabled", "Suspended"]
# Moto answers only clients that have this handler; `mock_aws` would catch all clients of the process.
_MOTO = BotocoreStubber()
_MOTO.enabled = True


class Refusal(Exception):
    """An error response."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class S3InMemory:
    """One bucket. Only one exists at a time.

    `calls` lists every (operation, key or prefix) of `client`; `before` holds a hook for an operation.
    """

    def __init__(self, versioning: Versioning = "Enabled") -> None:
        self.calls: list[tuple[str, str]] = []
        self.before: dict[str, Hook] = {}
        # Pages of two find code that reads the first page only.
        self.page = 2
        self._numbers = itertools.count(1)
        self.client, self._own = _client(), _own_client()
        events: Any = self.client.meta.events
        events.register("provide-client-params.s3.*", self._remember)
        events.register("before-call.s3.*", self._respond)
        events.register("after-call.s3.*", _hide_that_an_object_is_missing)
        # `s3_backends.reset()` would also delete the tables in moto.
        _backend().reset()
        self._own.create_bucket(Bucket=BUCKET)
        if versioning:
            self._own.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": versioning})

    def put(self, key: str, data: bytes, *, seconds: int | None = None) -> dict[str, Any]:
        """Upload an object `seconds` after noon, or after all others; return the event."""
        number = next(self._numbers)
        response = self._own.put_object(Bucket=BUCKET, Key=key, Body=data)
        stored = _backend().buckets[BUCKET].keys[key]
        stored.last_modified = _NOON + timedelta(seconds=number if seconds is None else seconds)
        version, etag = response.get("VersionId", ""), response["ETag"].strip('"')
        return {"bucket": BUCKET, "key": key, "etag": etag, "size": len(data), "version_id": version}

    def delete(self, key: str) -> None:
        self._own.delete_object(Bucket=BUCKET, Key=key)

    def delete_all(self) -> None:
        """Delete all objects with all their versions."""
        _backend().buckets[BUCKET].keys.clear()

    def read(self, key: str) -> bytes:
        return self._own.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def under(self, prefix: str) -> list[str]:
        """Return the visible keys with a prefix."""
        listing = self._own.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in listing.get("Contents", [])]

    def uploads(self) -> list[str]:
        """Return the keys of the multipart uploads that are open."""
        return [each["Key"] for each in self._own.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def traces(self) -> list[str]:
        """Return all that is left under prepared/: versions, delete markers and open uploads."""
        listing = self._own.list_object_versions(Bucket=BUCKET, Prefix="prepared/")
        found = [*listing.get("Versions", []), *listing.get("DeleteMarkers", [])]
        return [item["Key"] for item in found] + self.uploads()

    def on_call(self, operation: str, number: int, hook: Hook) -> None:
        """Run the hook before the operation's call of that number."""
        calls = itertools.count(1)
        self.before[operation] = lambda request: hook(request) if next(calls) == number else None

    def refuse(self, operation: str, code: str, status: int, *, call: int = 1) -> None:
        def refuse(_: Request) -> None:
            raise Refusal(status, code)

        self.on_call(operation, call, refuse)

    def lose_response(self, operation: str) -> None:
        """Let the operation's next call take effect and return an error all the same."""

        def act_and_fail(request: Request) -> None:
            getattr(self._own, xform_name(operation))(**request)
            raise Refusal(500, "InternalError")

        self.on_call(operation, 1, act_and_fail)

    def _remember(self, params: Request, model: OperationModel, context: dict[str, Any], **_: object) -> Any:
        context["request"] = dict(params)
        self.calls.append((model.name, str(params.get("Key", params.get("Prefix", "")))))
        # S3 refuses parts whose checksum is not that of their upload; moto does not compare them.
        assert model.name != "UploadPart" or params["ChecksumAlgorithm"] == "CRC32"
        return {**params, "MaxKeys": self.page} if str(params.get("Prefix")).startswith("uploads/") else None

    def _respond(
        self, model: OperationModel, context: Request, **_: object
    ) -> tuple[SimpleNamespace, dict[str, Any]] | None:
        try:
            if hook := self.before.get(model.name):
                hook(context["request"])
        except Refusal as refusal:
            error = {"Error": {"Code": refusal.code, "Message": refusal.code}}
            metadata = {"ResponseMetadata": {"HTTPStatusCode": refusal.status}}
            return SimpleNamespace(status_code=refusal.status), {**error, **metadata}
        return None


def _backend() -> S3Backend:
    return s3_backends["123456789012"]["aws"]


def _client() -> S3Client:
    # Signed, because moto shows nobody else's objects to an anonymous caller.
    client = _session().client("s3")
    events: Any = client.meta.events
    events.register("before-send.s3.*", _MOTO)
    return client


@functools.cache
def _own_client() -> S3Client:
    """Return the client for the calls of a test, which are not those of the steps."""
    return _client()


@functools.cache
def _session() -> boto3.Session:
    return boto3.Session("test", "test", region_name="us-east-1")


def _hide_that_an_object_is_missing(parsed: dict[str, Any], **_: object) -> None:
    # S3 returns AccessDenied to a role that may list two folders, and not the bucket.
    if parsed.get("Error", {}).get("Code") == "NoSuchKey":
        parsed["Error"]["Code"] = "AccessDenied"
