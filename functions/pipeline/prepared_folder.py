"""The folder a prepared corpus is written to: prepared/<dataset>/<fingerprint>/, with train, valid, test and
manifest.json.

All or nothing. The splits are multipart uploads, of which S3 shows nothing before they are completed; they
are completed only when all three are whole and accepted, and the manifest comes last. So a folder with a
manifest is complete, and its name says what is in it: the same text prepared again is found there and not
written twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.base import DatasetName, Sha256
from contracts.dataset import SourceObject, Split, Splits
from core.errors import PipelineError, ServiceUnavailable, code_of, translated
from text_stream import Tally
from uploads.file_names import SPLIT_NAMES, SplitName

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# S3 takes parts of 5 MiB and more (the last may be smaller), at most 10,000: enough for 78 GiB.
PART_BYTES = 8 * 1024**2
MANIFEST = "manifest.json"
# Said of an upload and of each of its parts: S3 wants both to agree, and boto3 by itself says it of parts.
_CHECKSUM: Literal["CRC32"] = "CRC32"


class SplitEntry(Split):
    """One prepared file in the manifest: sizes and the SHA-256 of its bytes."""

    sha256: Sha256


class SplitEntries(BaseModel):
    model_config = ConfigDict(frozen=True)

    train: SplitEntry
    valid: SplitEntry
    test: SplitEntry


class Manifest(BaseModel):
    """What manifest.json holds.

    `run` and `source` are those that wrote the folder; later runs only find it.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    dataset: DatasetName
    fingerprint: Sha256
    run: str
    prepared_at: datetime
    source: list[SourceObject]
    splits: SplitEntries
    preview: list[str]

    @property
    def sizes(self) -> Splits:
        entries = {name: getattr(self.splits, name) for name in SPLIT_NAMES}
        return Splits(
            **{name: Split(lines=e.lines, words=e.words, bytes=e.bytes) for name, e in entries.items()}
        )


def fingerprint(text_sha256: str, lines: Mapping[SplitName, int]) -> str:
    """A SHA-256 that stands for the three files: their text end to end and where it is cut.

    It is known before anything is written, unlike the hashes of the parts a corpus will be cut into.
    """
    cuts = ",".join(str(lines[split]) for split in SPLIT_NAMES)
    return hashlib.sha256(f"{text_sha256}:{cuts}".encode()).hexdigest()


class PreparedFolder:
    """One folder under prepared/. As a context, it leaves nothing behind when the block raises."""

    def __init__(self, s3: S3Client, bucket: str, dataset: str, fingerprint: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self.dataset = dataset
        self.fingerprint = fingerprint
        self._prefix = f"prepared/{dataset}/{fingerprint}/"
        self._uploads: dict[SplitName, _SplitUpload] = {}
        self._has_broken_manifest = False
        self._manifest_sent = False

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    @property
    def manifest_uri(self) -> str:
        return self.uri + MANIFEST

    def manifest(self) -> Manifest | None:
        """The manifest of a folder that is complete, with each split in it at its size; None otherwise."""
        with translated():
            # A listing, because S3 answers 403 instead of 404 to a role that may not list the whole bucket.
            listing = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix)
            sizes = {item["Key"]: item["Size"] for item in listing.get("Contents", [])}
            if self._prefix + MANIFEST not in sizes:
                return None
            body = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + MANIFEST)["Body"].read()
        # From here on a manifest is in the way; if it is not one of a complete folder, it is written over.
        self._has_broken_manifest = True
        try:
            found = Manifest.model_validate_json(body)
        except ValidationError:
            return None
        for split in SPLIT_NAMES:
            if sizes.get(self._prefix + split) != getattr(found.splits, split).bytes:
                return None
        self._has_broken_manifest = False
        return found

    def write(self, split: SplitName, text: str) -> None:
        """Append to a split."""
        if split not in self._uploads:
            self._uploads[split] = _SplitUpload(self._s3, self._bucket, self._prefix + split)
        self._uploads[split].write(text)

    def sizes(self) -> dict[SplitName, Split]:
        """What was written so far; a split that nothing was written to has no size."""
        tallies = {split: upload.tally for split, upload in self._uploads.items()}
        return {
            split: Split(lines=tally.lines, words=tally.words, bytes=tally.bytes)
            for split, tally in tallies.items()
        }

    def publish(self, run: str, source: list[SourceObject], preview: list[str]) -> Manifest:
        """Make the splits visible, then the manifest.

        If another run has published the same text in the meantime, its manifest stands and is returned.
        """
        entries = {
            split: SplitEntry(
                lines=upload.tally.lines,
                words=upload.tally.words,
                bytes=upload.tally.bytes,
                sha256=upload.tally.sha256,
            )
            for split, upload in self._uploads.items()
        }
        manifest = Manifest(
            dataset=self.dataset,
            fingerprint=self.fingerprint,
            run=run,
            prepared_at=datetime.now(UTC),
            source=source,
            splits=SplitEntries.model_validate(entries),
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
                    Key=self._prefix + MANIFEST,
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
                        f"Another run is writing {self.uri} at this moment; try again."
                    ) from error
                return published
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        for discard in (*(upload.discard for upload in self._uploads.values()), self._discard_manifest):
            try:
                discard()
            except (ClientError, BotoCoreError, PipelineError) as problem:
                error.add_note(f"Clean-up failed too: {problem}")

    def _discard_manifest(self) -> None:
        """Remove the manifest if it appeared although S3's answer was an error; another run's stays."""
        if self._manifest_sent and self.manifest() is None and self._has_broken_manifest:
            self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + MANIFEST)


class _SplitUpload:
    """One split on its way to S3 as a multipart upload."""

    def __init__(self, s3: S3Client, bucket: str, key: str) -> None:
        self.tally = Tally()
        self._s3 = s3
        self._bucket = bucket
        self._key = key
        self._parts: list[CompletedPartTypeDef] = []
        self._buffer = bytearray()
        self._version_id = ""
        with translated():
            self._id = s3.create_multipart_upload(
                Bucket=bucket, Key=key, ContentType="text/plain; charset=utf-8", ChecksumAlgorithm=_CHECKSUM
            )["UploadId"]

    def write(self, text: str) -> None:
        self._buffer += self.tally.add(text)
        if len(self._buffer) >= PART_BYTES:
            self._send()

    def _send(self) -> None:
        number = len(self._parts) + 1
        with translated():
            answer = self._s3.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._id,
                PartNumber=number,
                Body=bytes(self._buffer),
                ChecksumAlgorithm=_CHECKSUM,
            )
        self._buffer.clear()
        part: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
        # S3 wants the checksums of the parts again to verify the whole.
        if "ChecksumCRC32" in answer:
            part["ChecksumCRC32"] = answer["ChecksumCRC32"]
        self._parts.append(part)

    def complete(self) -> None:
        if self._buffer:
            self._send()
        answer = self._s3.complete_multipart_upload(
            Bucket=self._bucket, Key=self._key, UploadId=self._id, MultipartUpload={"Parts": self._parts}
        )
        self._version_id = answer.get("VersionId", "")

    def discard(self) -> None:
        """Take back what was written: this very version, so that another run's equal object stays."""
        if self._version_id:
            self._s3.delete_object(Bucket=self._bucket, Key=self._key, VersionId=self._version_id)
            return
        try:
            self._s3.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)
        except self._s3.exceptions.NoSuchUpload:
            # Completed: without a version (the bucket keeps none), or S3's answer to it was lost.
            self._s3.delete_object(Bucket=self._bucket, Key=self._key)
