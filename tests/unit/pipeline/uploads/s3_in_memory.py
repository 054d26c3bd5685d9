"""An S3 bucket in memory behind a real boto3 client.

boto3 still checks every parameter. The bucket refuses what S3 refuses: conditions that do not hold, small or
unlisted parts, unknown uploads, and whatever the role of Prepare may not do.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
from botocore.response import StreamingBody

if TYPE_CHECKING:
    from botocore.model import OperationModel

BUCKET = "lexline-test"
SMALLEST_PART = 5 * 1024**2
_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
_READS = ("ListObjectsV2", "GetObject")

Request = Mapping[str, Any]
Hook = Callable[[Request], None]


class Refusal(Exception):
    """An error response."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.body = {"Error": {"Code": code, "Message": message or code}}


@dataclass
class Version:
    id: str
    data: bytes | None  # None: a delete marker
    modified: datetime

    @property
    def etag(self) -> str:
        return _etag(self.data or b"")


@dataclass
class MultipartUpload:
    key: str
    checksum: str
    parts: dict[int, bytes] = field(default_factory=dict)


class S3InMemory:
    """One bucket. `calls` lists every (operation, key or prefix); `before` holds a hook for an operation."""

    def __init__(self, *, versioned: bool = True) -> None:
        self.versioned = versioned
        self.versions: dict[str, list[Version]] = {}
        self.uploads: dict[str, MultipartUpload] = {}
        self.calls: list[tuple[str, str]] = []
        self.before: dict[str, Hook] = {}
        self._numbers = itertools.count(1)
        self.client = boto3.Session("test", "test", region_name="us-east-1").client("s3")
        events: Any = self.client.meta.events
        events.register_first("before-parameter-build.s3.*", self._remember)
        events.register("before-call.s3.*", self._respond)

    # --- for tests

    def put(self, key: str, data: bytes, *, seconds: int | None = None) -> dict[str, Any]:
        """Upload an object `seconds` after noon, or after all others; return the event."""
        number = next(self._numbers)
        modified = _NOON + timedelta(seconds=number if seconds is None else seconds)
        version = Version(f"v{number}" if self.versioned else "", data, modified)
        self.versions[key] = [*(self.versions.get(key, []) if self.versioned else []), version]
        etag = version.etag.strip('"')
        return {
            "bucket": BUCKET, "key": key, "etag": etag, "size": len(data), "version_id": version.id
        }  # fmt: skip

    def read(self, key: str) -> bytes:
        return self._current(key).data or b""

    def under(self, prefix: str) -> list[str]:
        """Return the visible keys with a prefix."""
        return sorted(
            key
            for key, versions in self.versions.items()
            if key.startswith(prefix) and versions and versions[-1].data is not None
        )

    def traces(self) -> list[str]:
        """Return all that is left under prepared/: objects, older versions, delete markers, open uploads."""
        keys = [key for key, versions in self.versions.items() for _ in versions]
        keys += [upload.key for upload in self.uploads.values()]
        return [key for key in keys if key.startswith("prepared/")]

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
            getattr(self, "_" + operation)(request)
            raise Refusal(500, "InternalError")

        self.on_call(operation, 1, act_and_fail)

    # --- in place of the network

    def _remember(self, params: Request, context: dict[str, Any], **_: object) -> None:
        context["request"] = dict(params)

    def _respond(
        self, model: OperationModel, context: Request, **_: object
    ) -> tuple[SimpleNamespace, dict[str, Any]]:
        request = context["request"]
        where = str(request.get("Key", request.get("Prefix", "")))
        self.calls.append((model.name, where))
        try:
            if request["Bucket"] != BUCKET:
                raise Refusal(404, "NoSuchBucket")
            if not where.startswith(("uploads/", "prepared/") if model.name in _READS else "prepared/"):
                raise Refusal(403, "AccessDenied", f"not authorized to perform: s3:{model.name} on {where}")
            if hook := self.before.get(model.name):
                hook(request)
            status, body = 200, getattr(self, "_" + model.name)(request)
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        return SimpleNamespace(status_code=status), {**body, "ResponseMetadata": {"HTTPStatusCode": status}}

    def _current(self, key: str) -> Version:
        if key not in self.under(key):
            # The role may list two folders, not the bucket. S3 then does not say that the object is missing.
            raise Refusal(403, "AccessDenied", "Access Denied")
        return self.versions[key][-1]

    def _ListObjectsV2(self, request: Request) -> dict[str, Any]:
        # Pages of two, to find code that reads the first page only.
        keys = [key for key in self.under(request["Prefix"]) if key > request.get("ContinuationToken", "")]
        page = keys[: 2 if request["Prefix"].startswith("uploads/") else 1000]
        versions = [(key, self._current(key)) for key in page]
        contents = [
            {
                "Key": key,
                "ETag": version.etag,
                "Size": len(version.data or b""),
                "LastModified": version.modified,
            }
            for key, version in versions
        ]
        more = {"NextContinuationToken": page[-1]} if len(page) < len(keys) else {}
        return {"Contents": contents, "KeyCount": len(page), "IsTruncated": bool(more), **more}

    def _GetObject(self, request: Request) -> dict[str, Any]:
        version = self._current(request["Key"])
        data = version.data or b""
        if request.get("IfMatch", version.etag).strip('"') != version.etag.strip('"'):
            raise Refusal(412, "PreconditionFailed")
        if match := re.fullmatch(r"bytes=(\d+)-(\d+)", request.get("Range", "")):
            first, last = int(match[1]), int(match[2])
            if first >= len(data) or last < first:
                raise Refusal(416, "InvalidRange")
            data = data[first : last + 1]
        return {"Body": StreamingBody(io.BytesIO(data), len(data)), **_described(version)}

    def _PutObject(self, request: Request) -> dict[str, Any]:
        if request.get("IfNoneMatch") == "*" and self.under(request["Key"]):
            raise Refusal(412, "PreconditionFailed")
        self.put(request["Key"], request["Body"])
        return _described(self._current(request["Key"]))

    def _CreateMultipartUpload(self, request: Request) -> dict[str, Any]:
        number = f"upload-{next(self._numbers)}"
        self.uploads[number] = MultipartUpload(request["Key"], request.get("ChecksumAlgorithm", ""))
        return {"UploadId": number}

    def _open(self, request: Request) -> MultipartUpload:
        upload = self.uploads.get(request["UploadId"])
        if upload is None or upload.key != request["Key"]:
            raise Refusal(404, "NoSuchUpload")
        return upload

    def _UploadPart(self, request: Request) -> dict[str, Any]:
        upload, data = self._open(request), bytes(request["Body"])
        if not 1 <= request["PartNumber"] <= 10_000:
            raise Refusal(400, "InvalidArgument")
        # boto3 sends a CRC-32 with a part unless another is requested. S3 wants the kind of the upload.
        if request.get("ChecksumAlgorithm", "CRC32") != upload.checksum:
            raise Refusal(400, "InvalidRequest", "Checksum Type mismatch occurred")
        upload.parts[request["PartNumber"]] = data
        return {"ETag": _etag(data), "ChecksumCRC32": "c" + _etag(data)}

    def _CompleteMultipartUpload(self, request: Request) -> dict[str, Any]:
        upload, listed = self._open(request), request["MultipartUpload"]["Parts"]
        numbers = [part["PartNumber"] for part in listed]
        if not numbers or numbers != sorted(set(numbers)):
            raise Refusal(400, "InvalidPartOrder" if numbers else "MalformedXML")
        for part in listed:
            etag = _etag(upload.parts.get(part["PartNumber"], b""))
            if (part["ETag"], part.get("ChecksumCRC32")) != (etag, "c" + etag):
                raise Refusal(400, "InvalidPart")
        if any(len(upload.parts[number]) < SMALLEST_PART for number in numbers[:-1]):
            raise Refusal(400, "EntityTooSmall")
        del self.uploads[request["UploadId"]]
        self.put(upload.key, b"".join(upload.parts[number] for number in numbers))
        return _described(self._current(upload.key))

    def _AbortMultipartUpload(self, request: Request) -> dict[str, Any]:
        self._open(request)
        del self.uploads[request["UploadId"]]
        return {}

    def _DeleteObject(self, request: Request) -> dict[str, Any]:
        key = request["Key"]
        if "VersionId" in request:
            self.versions[key] = [v for v in self.versions.get(key, []) if v.id != request["VersionId"]]
        elif self.versioned:
            marker = Version(f"v{next(self._numbers)}", None, _NOON)
            self.versions[key] = [*self.versions.get(key, []), marker]
        else:
            self.versions.pop(key, None)
        return {}


def _described(version: Version) -> dict[str, str]:
    return {"ETag": version.etag, **({"VersionId": version.id} if version.id else {})}


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
