"""An S3 bucket in memory behind a real boto3 client, and the prepare step run against it.

boto3 still checks every parameter; the fake answers in the place of the network and refuses what S3
refuses: conditions that do not hold, small or unlisted parts, unknown uploads, and whatever the step's role
may not do.
"""

import functools
import hashlib
import io
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody

from contracts.dataset import PrepareInput
from contracts.request import ExecutionInput
from contracts.run import Execution, Lease, Run
from coordination import lease
from core import aws
from steps import prepare
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory

BUCKET = "lexline-test"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:lexline-pipeline:one"
SMALLEST_PART = 5 * 1024**2
_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or code


@dataclass
class Version:
    id: str
    data: bytes | None  # None: a delete marker
    etag: str
    modified: datetime


class FakeS3:
    """One bucket. `calls` lists every (operation, key or prefix); `before` holds a hook for an operation."""

    def __init__(self, *, versioned: bool = True) -> None:
        self.versioned = versioned
        self.versions: dict[str, list[Version]] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.checksums: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.before: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._numbers = itertools.count(1)
        self.client = boto3.client(
            "s3",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        events: Any = self.client.meta.events
        events.register_first("before-parameter-build.s3.*", self._remember)
        events.register("before-call.s3.*", self._answer)

    # --- what a test does and sees

    def put(self, key: str, data: bytes, *, seconds: int | None = None) -> dict[str, Any]:
        """Upload an object, `seconds` after noon (else one later than the last); the event of its upload."""
        number = next(self._numbers)
        modified = _NOW + timedelta(seconds=number if seconds is None else seconds)
        etag = '"' + hashlib.md5(data).hexdigest() + '"'
        version = Version(f"v{number}" if self.versioned else "", data, etag, modified)
        self.versions[key] = [*(self.versions.get(key, []) if self.versioned else []), version]
        return {
            "bucket": BUCKET,
            "key": key,
            "etag": etag.strip('"'),
            "size": len(data),
            "version_id": version.id,
        }

    def read(self, key: str) -> bytes:
        data = self._current(key).data
        assert data is not None
        return data

    def under(self, prefix: str) -> list[str]:
        """The visible keys that start so."""
        return sorted(
            key
            for key, versions in self.versions.items()
            if key.startswith(prefix) and versions and versions[-1].data is not None
        )

    def traces(self, prefix: str = "prepared/") -> list[str]:
        """All that is kept or paid for: objects, older versions, delete markers, open uploads."""
        kept = [key for key, versions in self.versions.items() if key.startswith(prefix) for _ in versions]
        return kept + [key for key, _ in self.uploads.values() if key.startswith(prefix)]

    def refuse(self, operation: str, code: str, status: int, *, call: int = 1) -> None:
        """Let the operation's call of that number fail."""
        calls = itertools.count(1)

        def hook(_: dict[str, Any]) -> None:
            if next(calls) == call:
                raise Refusal(status, code)

        self.before[operation] = hook

    def lose_answer(self, operation: str) -> None:
        """Let the operation's next call take effect, and its caller hear of an error."""

        def hook(asked: dict[str, Any]) -> None:
            del self.before[operation]
            getattr(self, "_" + operation)(asked)
            raise Refusal(500, "InternalError")

        self.before[operation] = hook

    # --- between boto3 and the network

    def _remember(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = dict(params)

    def _answer(self, model: Any, context: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        asked = context["asked"]
        where = str(asked.get("Key", asked.get("Prefix", "")))
        self.calls.append((model.name, where))
        try:
            if asked["Bucket"] != BUCKET:
                raise Refusal(404, "NoSuchBucket")
            allowed = ("uploads/", "prepared/") if model.name in _READS else ("prepared/",)
            if not where.startswith(allowed):
                raise Refusal(403, "AccessDenied", f"not authorized to perform: s3:{model.name} on {where}")
            if hook := self.before.get(model.name):
                hook(asked)
            answer = getattr(self, "_" + model.name)(asked)
            status = 200
        except Refusal as refusal:
            status = refusal.status
            answer = {"Error": {"Code": refusal.code, "Message": refusal.message}}
        return SimpleNamespace(status_code=status), {**answer, "ResponseMetadata": {"HTTPStatusCode": status}}

    def _current(self, key: str) -> Version:
        versions = self.versions.get(key, [])
        if not versions or versions[-1].data is None:
            raise Refusal(404, "NoSuchKey")
        return versions[-1]

    def _ListObjectsV2(self, asked: dict[str, Any]) -> dict[str, Any]:
        # Two to a page, so that whoever forgets the second page is found out.
        keys = [key for key in self.under(asked["Prefix"]) if key > asked.get("ContinuationToken", "")]
        page = keys[: 2 if asked["Prefix"].startswith("uploads/") else 1000]
        contents = [
            {"Key": key, "ETag": v.etag, "Size": len(v.data or b""), "LastModified": v.modified}
            for key in page
            for v in [self._current(key)]
        ]
        more = {"NextContinuationToken": page[-1]} if len(page) < len(keys) else {}
        return {"Contents": contents, "KeyCount": len(page), "IsTruncated": bool(more), **more}

    def _GetObject(self, asked: dict[str, Any]) -> dict[str, Any]:
        if not self.under(asked["Key"]):
            # The step's role may list two folders and not the bucket; S3 then does not say what is missing.
            raise Refusal(403, "AccessDenied", "Access Denied")
        version = self._current(asked["Key"])
        data = version.data or b""
        if asked.get("IfMatch", version.etag).strip('"') != version.etag.strip('"'):
            raise Refusal(412, "PreconditionFailed")
        if byte_range := asked.get("Range"):
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", byte_range)
            assert match
            first, last = int(match[1]), int(match[2])
            if first >= len(data) or last < first:
                raise Refusal(416, "InvalidRange")
            data = data[first : last + 1]
        answer = {"Body": StreamingBody(io.BytesIO(data), len(data)), "ETag": version.etag}
        return {**answer, "VersionId": version.id} if version.id else answer

    def _PutObject(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("IfNoneMatch") == "*" and self.under(asked["Key"]):
            raise Refusal(412, "PreconditionFailed")
        return self._stored(asked["Key"], asked["Body"])

    def _stored(self, key: str, data: bytes) -> dict[str, Any]:
        self.put(key, data)
        version = self.versions[key][-1]
        return {"ETag": version.etag, **({"VersionId": version.id} if version.id else {})}

    def _CreateMultipartUpload(self, asked: dict[str, Any]) -> dict[str, Any]:
        upload = f"upload-{next(self._numbers)}"
        self.uploads[upload] = (asked["Key"], {})
        self.checksums[upload] = asked.get("ChecksumAlgorithm", "")
        return {"UploadId": upload}

    def _open(self, asked: dict[str, Any]) -> dict[int, bytes]:
        key, parts = self.uploads.get(asked["UploadId"], ("", {}))
        if key != asked["Key"]:
            raise Refusal(404, "NoSuchUpload")
        return parts

    def _UploadPart(self, asked: dict[str, Any]) -> dict[str, Any]:
        if not 1 <= asked["PartNumber"] <= 10_000:
            raise Refusal(400, "InvalidArgument")
        parts = self._open(asked)
        # boto3 sends a CRC-32 with a part unless asked for another; S3 wants the kind of the upload.
        if asked.get("ChecksumAlgorithm", "CRC32") != self.checksums[asked["UploadId"]]:
            raise Refusal(400, "InvalidRequest", "Checksum Type mismatch occurred")
        parts[asked["PartNumber"]] = bytes(asked["Body"])
        return {"ETag": _etag(asked["Body"]), "ChecksumCRC32": "c" + _etag(asked["Body"])}

    def _CompleteMultipartUpload(self, asked: dict[str, Any]) -> dict[str, Any]:
        uploaded = self._open(asked)
        listed = asked["MultipartUpload"]["Parts"]
        if not listed:
            raise Refusal(400, "MalformedXML")
        numbers = [part["PartNumber"] for part in listed]
        if numbers != sorted(set(numbers)):
            raise Refusal(400, "InvalidPartOrder")
        for part in listed:
            data = uploaded.get(part["PartNumber"])
            if data is None or part["ETag"] != _etag(data) or part.get("ChecksumCRC32") != "c" + _etag(data):
                raise Refusal(400, "InvalidPart")
        if any(len(uploaded[number]) < SMALLEST_PART for number in numbers[:-1]):
            raise Refusal(400, "EntityTooSmall")
        del self.uploads[asked["UploadId"]]
        return self._stored(asked["Key"], b"".join(uploaded[number] for number in numbers))

    def _AbortMultipartUpload(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._open(asked)
        del self.uploads[asked["UploadId"]]
        return {}

    def _DeleteObject(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = asked["Key"]
        if "VersionId" in asked:
            self.versions[key] = [v for v in self.versions.get(key, []) if v.id != asked["VersionId"]]
        elif self.versioned:
            marker = Version(f"v{next(self._numbers)}", None, "", _NOW)
            self.versions[key] = [*self.versions.get(key, []), marker]
        else:
            self.versions.pop(key, None)
        return {}


_READS = ("ListObjectsV2", "GetObject")


def _etag(data: bytes) -> str:
    return '"' + hashlib.md5(data).hexdigest() + '"'


def run_prepare(
    table: TableInMemory,
    dataset: str = "tales",
    upload: Mapping[str, Any] | None = None,
    name: str = "run",
    hyperparameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The step's answer to a run, started by the dataset's name or by an upload, that holds the lease."""
    table.put("endpoint/lexline", owner=name, generation=1, until=time.time() + lease.SECONDS, waiting={})
    asked = ExecutionInput.model_validate(
        {
            "hyperparameters": hyperparameters or {},
            **({"upload": upload} if upload else {"dataset": dataset}),
        }
    )
    run = Run(
        **{**dict(asked), "dataset": dataset},
        name=name,
        subject=name,
        work="train",
        endpoint="lexline",
        execution=Execution.model_validate({"id": EXECUTION, "started": "2026-11-23T12:00:00Z"}),
    )
    given = PrepareInput(run=run, lease=Lease(owner=name, generation=1))
    context = SimpleNamespace(
        function_name="prepare",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:prepare",
        aws_request_id="request",
    )
    return prepare.handler(json.loads(given.model_dump_json()), context)  # type: ignore[arg-type]


class PrepareStep:
    """The step's handler over a fake bucket, for runs that hold the lease."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, versioned: bool = True) -> None:
        self.s3 = FakeS3(versioned=versioned)
        self.table = TableInMemory("tokens")
        monkeypatch.setenv("BUCKET", BUCKET)
        monkeypatch.setattr(aws, "s3", lambda: self.s3.client)
        monkeypatch.setattr(aws, "dynamodb", lambda: self.table.client)

    def run(
        self, dataset: str = "tales", *, upload: dict[str, Any] | None = None, name: str = "run", **hyper: Any
    ) -> dict[str, Any]:
        """What the step answers to a run started by the dataset's name, or by an upload."""
        return run_prepare(self.table, dataset, upload, name, hyper)

    def splits(self, prepared: dict[str, Any]) -> dict[str, bytes]:
        return {split: self.s3.read(self._prefix(prepared) + split) for split in ("train", "valid", "test")}

    def manifest(self, prepared: dict[str, Any]) -> dict[str, Any]:
        found = json.loads(self.s3.read(self._prefix(prepared) + "manifest.json"))
        assert isinstance(found, dict)
        return found

    @staticmethod
    def _prefix(prepared: dict[str, Any]) -> str:
        return str(prepared["prepared_uri"]).removeprefix(f"s3://{BUCKET}/")


@functools.cache
def tale(lines: int = 200) -> str:
    """Text of nine words a line, no two lines alike."""
    nouns = ("fox", "crow", "miller", "river", "Käse", "王様", "lantern")
    return "".join(
        f"{number} once the {nouns[number % 7]} met a {nouns[number % 5]} and said\n"
        for number in range(1, lines + 1)
    )
