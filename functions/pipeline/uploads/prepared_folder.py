"""The folder of a prepared corpus: train, valid, test and manifest.json.

The splits are multipart uploads, which S3 does not show before they are completed. They are completed when
all three are whole and accepted, and the manifest is written last. So a folder with a manifest is complete.
Its path is prepared/<dataset>/<fingerprint>/. The fingerprint is a hash of the text: the same text prepared
again is found there and not written twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.base import DatasetName, Sha256
from contracts.dataset import SourceObject, Split
from core.errors import PipelineError, ServiceUnavailable, code_of, translated
from uploads.file_names import SPLIT_NAMES, SplitName
from uploads.text_stream import Tally

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# S3 accepts parts of 5 MiB and more (the last may be smaller), at most 10,000: enough for 78 GiB.
PART_BYTES = 8 * 1024**2
# S3 wants an upload and its parts to name the same checksum. By itself, boto3 names one for parts only.
_CHECKSUM: Literal["CRC32"] = "CRC32"


class SplitEntry(Split):
    """One prepared file in the manifest."""

    sha256: Sha256


class Manifest(BaseModel):
    """The content of manifest.json. `run` and `source` are those of the run that wrote the folder."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    dataset: DatasetName
    fingerprint: Sha256
    run: str
    prepared_at: datetime
    source: list[SourceObject]
    splits: dict[SplitName, SplitEntry] = Field(min_length=len(SPLIT_NAMES))
    preview: list[str]


def fingerprint(text_sha256: str, lines: Mapping[SplitName, int]) -> str:
    """Return the SHA-256 that names a folder: the hash of the text, and where it is cut.

    Unlike the hashes of the splits, it is known before they are written.
    """
    cuts = ",".join(str(lines[split]) for split in SPLIT_NAMES)
    return hashlib.sha256(f"{text_sha256}:{cuts}".encode()).hexdigest()


class PreparedFolder(AbstractContextManager["PreparedFolder"]):
    """One folder under prepared/. As a context, it deletes what was written if the block raises."""

    def __init__(self, s3: S3Client, bucket: str, dataset: str, fingerprint: str) -> None:
        self.dataset = dataset
        self.fingerprint = fingerprint
        self._s3 = s3
        self._bucket = bucket
        self._prefix = f"prepared/{dataset}/{fingerprint}/"
        self._manifest_key = f"{self._prefix}manifest.json"
        self.uri = f"s3://{bucket}/{self._prefix}"
        self.manifest_uri = f"s3://{bucket}/{self._manifest_key}"
        self._uploads: dict[SplitName, _SplitUpload] = {}
        self._has_broken_manifest = False
        self._manifest_sent = False

    def manifest(self) -> Manifest | None:
        """Return the manifest, or None if it is missing or invalid, or if a split has another size."""
        with translated():
            # A listing, because S3 returns 403 instead of 404 to a role that may not list the whole bucket.
            listing = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix)
            sizes = {item["Key"]: item["Size"] for item in listing.get("Contents", [])}
            self._has_broken_manifest = self._manifest_key in sizes
            if not self._has_broken_manifest:
                return None
            body = self._s3.get_object(Bucket=self._bucket, Key=self._manifest_key)["Body"].read()
        try:
            manifest = Manifest.model_validate_json(body)
        except ValidationError:
            return None
        self._has_broken_manifest = any(
            sizes.get(self._prefix + split) != entry.bytes for split, entry in manifest.splits.items()
        )
        return None if self._has_broken_manifest else manifest

    def write(self, split: SplitName, text: str) -> None:
        """Append to a split."""
        if split not in self._uploads:
            self._uploads[split] = _SplitUpload(self._s3, self._bucket, self._prefix + split)
        self._uploads[split].write(text)

    def entries(self) -> dict[SplitName, SplitEntry]:
        """Return the sizes of the splits that text was written to."""
        return {
            split: SplitEntry.model_validate(upload.tally, from_attributes=True)
            for split, upload in self._uploads.items()
        }

    def publish(self, run: str, source: list[SourceObject], preview: list[str]) -> Manifest:
        """Make the splits visible, then the manifest.

        Returns:
            The manifest; that of another run if it has published the same text in the meantime.
        """
        manifest = Manifest(
            dataset=self.dataset,
            fingerprint=self.fingerprint,
            run=run,
            prepared_at=datetime.now(UTC),
            source=source,
            splits=self.entries(),
            preview=preview,
        )
        condition: dict[str, Any] = {} if self._has_broken_manifest else {"IfNoneMatch": "*"}
        with translated():
            for upload in self._uploads.values():
                upload.complete()
            self._manifest_sent = True
            try:
                self._s3.put_object(
                    Bucket=self._bucket,
                    Key=self._manifest_key,
                    Body=manifest.model_dump_json(indent=2).encode() + b"\n",
                    ContentType="application/json",
                    **condition,
                )
            except ClientError as error:
                if code_of(error) not in ("PreconditionFailed", "ConditionalRequestConflict"):
                    raise
                published = self.manifest()
                if published is None:
                    raise ServiceUnavailable(
                        f"Another run is writing {self.uri} at this moment. Try again."
                    ) from error
                return published
        return manifest

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        for discard in (*(upload.discard for upload in self._uploads.values()), self._discard_manifest):
            try:
                discard()
            except (ClientError, BotoCoreError, PipelineError) as problem:
                error.add_note(f"The cleanup failed too: {problem}")

    def _discard_manifest(self) -> None:
        # S3 may have stored the manifest although it returned an error. Another run's manifest is not broken.
        if self._manifest_sent and self.manifest() is None and self._has_broken_manifest:
            self._s3.delete_object(Bucket=self._bucket, Key=self._manifest_key)


class _SplitUpload:
    """One split, written as a multipart upload."""

    def __init__(self, s3: S3Client, bucket: str, key: str) -> None:
        self._s3 = s3
        self._object: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self.tally = Tally()
        self._buffer = bytearray()
        self._parts: list[CompletedPartTypeDef] = []
        self._version_id = ""
        with translated():
            response = s3.create_multipart_upload(
                **self._object, ContentType="text/plain; charset=utf-8", ChecksumAlgorithm=_CHECKSUM
            )
        self._upload = {**self._object, "UploadId": response["UploadId"]}

    def write(self, text: str) -> None:
        self._buffer += self.tally.add(text)
        if len(self._buffer) >= PART_BYTES:
            self._send()

    def _send(self) -> None:
        number = len(self._parts) + 1
        with translated():
            response = self._s3.upload_part(
                **self._upload, PartNumber=number, Body=bytes(self._buffer), ChecksumAlgorithm=_CHECKSUM
            )
        self._buffer.clear()
        part: CompletedPartTypeDef = {"PartNumber": number, "ETag": response["ETag"]}
        # S3 wants the checksums of the parts again to verify the whole.
        if "ChecksumCRC32" in response:
            part["ChecksumCRC32"] = response["ChecksumCRC32"]
        self._parts.append(part)

    def complete(self) -> None:
        if self._buffer:
            self._send()
        response = self._s3.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": self._parts})
        self._version_id = response.get("VersionId", "")

    def discard(self) -> None:
        """Delete what was written: only this version, so that the equal object of another run stays."""
        if self._version_id:
            self._s3.delete_object(**self._object, VersionId=self._version_id)
            return
        try:
            self._s3.abort_multipart_upload(**self._upload)
        except self._s3.exceptions.NoSuchUpload:
            # The upload was completed, in a bucket without versions, or S3's response was lost.
            self._s3.delete_object(**self._object)
