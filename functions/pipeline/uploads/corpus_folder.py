"""The folder of a run's corpus: prepared/<dataset>/<run>/ with the plan, the items' results and the corpus.

    plan.json, items.json, items/NNNNN.json   work files, which training does not read
    corpus/NNNNN, corpus/manifest.json        the text of each item, and where the splits are

The manifest is written last. So a corpus with a manifest is complete. A step that is retried writes the same
objects again.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Self

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError

from contracts.dataset import Item, ItemResult, Manifest, Plan, Prepared, Split, Splits
from core.aws import is_missing_object
from core.errors import PipelineError, ServiceUnavailable, message_of, translated
from core.text import cut
from uploads.file_names import SPLIT_NAMES
from uploads.left_out import LONGEST_NAME, LONGEST_REASON, shortened

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# S3 accepts parts of 5 MiB and more (the last may be smaller), at most 10,000: enough for 78 GiB.
PART_BYTES = 8 * 1024**2
# S3 wants an upload and its parts to name the same checksum. By itself, boto3 names one for parts only.
_CHECKSUM: Literal["CRC32"] = "CRC32"
_TEXT = "text/plain; charset=utf-8"
# How many results are read at the same time.
_READERS = 8
# How many entries of a list the state machine passes on. The manifest has all.
_PASSED_ON = 20
_PREVIEW_LINES = 5
_PREVIEW_CHARACTERS = 200
_PREVIEW_BYTES = 64 * 1024
_ITEMS = TypeAdapter(list[Item])


class CorpusFolder:
    """The folder of one run. `prefix` is its key prefix, for deleting it."""

    def __init__(self, s3: S3Client, bucket: str, dataset: str, run: str) -> None:
        self.prefix = f"prepared/{dataset}/{run}/"
        self.uri = f"s3://{bucket}/{self.prefix}corpus/"
        self.manifest_uri = f"{self.uri}manifest.json"
        self.plan_key = f"{self.prefix}plan.json"  # the plan without its items
        self.items_key = f"{self.prefix}items.json"  # the items as a JSON array, for the Map's ItemReader
        self._s3 = s3
        self._bucket = bucket

    def write_plan(self, plan: Plan) -> None:
        """Write the plan: its items as an array of their own."""
        self._put(self.items_key, _ITEMS.dump_json(plan.items))
        self._put(self.plan_key, plan.model_copy(update={"items": []}).model_dump_json().encode())

    def plan(self) -> Plan:
        """Return the plan that was written.

        Raises:
            ServiceUnavailable: The plan cannot be read.
        """
        try:
            plan = Plan.model_validate_json(self._get(self.plan_key))
            return plan.model_copy(update={"items": _ITEMS.validate_json(self._get(self.items_key))})
        except ValidationError as error:
            raise ServiceUnavailable(f"{self.prefix}plan.json is incomplete. Start the run again.") from error

    def item_text(self, item: Item) -> ItemText:
        """Return a context that writes the item's object; nothing is visible if the block raises."""
        return ItemText(self._s3, self._bucket, f"{self.prefix}corpus/{item.object_name}")

    def write_result(self, item: Item, result: ItemResult) -> None:
        """Write an item's result, after its text."""
        self._put(self._result_key(item), result.model_dump_json().encode())

    def results(self, plan: Plan) -> Iterator[ItemResult]:
        """Yield the results of the plan's items, in their order.

        Raises:
            ServiceUnavailable: A result is missing.
        """
        with ThreadPoolExecutor(_READERS) as readers:
            for first in range(0, len(plan.items), _READERS):
                yield from readers.map(self._result, plan.items[first : first + _READERS])

    def _result(self, item: Item) -> ItemResult:
        try:
            return ItemResult.model_validate_json(self._get(self._result_key(item)))
        except ValidationError as error:
            raise ServiceUnavailable(
                f"{self._result_key(item)} is incomplete. Start the run again."
            ) from error

    def _result_key(self, item: Item) -> str:
        return f"{self.prefix}items/{item.object_name}.json"

    def publish(self, manifest: Manifest) -> Prepared:
        """Write the manifest with the preview of the text; return what the state machine passes on."""
        manifest = manifest.model_copy(update={"preview": self._preview(manifest)})
        self._put(f"{self.prefix}corpus/manifest.json", manifest.model_dump_json(indent=1).encode() + b"\n")
        notes = (f"{cut(file.name, LONGEST_NAME)}: {note}" for file in manifest.files for note in file.notes)
        return Prepared(
            dataset=manifest.dataset,
            fingerprint=manifest.fingerprint,
            prepared_uri=self.uri,
            manifest_uri=self.manifest_uri,
            splits=Splits(**{name: _size(getattr(manifest.splits, name)) for name in SPLIT_NAMES}),
            files=len(manifest.files),
            left_out=[shortened(entry) for entry in manifest.left_out[:_PASSED_ON]],
            left_out_count=len(manifest.left_out),
            notes=[cut(note, LONGEST_REASON) for _, note in zip(range(_PASSED_ON), notes, strict=False)],
        )

    def _preview(self, manifest: Manifest) -> list[str]:
        name, first, end = manifest.splits.train.ranges[0]
        last = min(end, first + _PREVIEW_BYTES) - 1
        with translated():
            response = self._s3.get_object(
                Bucket=self._bucket, Key=f"{self.prefix}corpus/{name}", Range=f"bytes={first}-{last}"
            )
            head = response["Body"].read().decode(errors="ignore")
        return [cut(line, _PREVIEW_CHARACTERS) for line in head.split("\n")[:_PREVIEW_LINES] if line]

    def _get(self, key: str) -> bytes:
        with translated():
            try:
                return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except ClientError as error:
                # To a role that may not list the bucket, S3 denies the request for a missing object, too. But
                # then it does not name this action.
                if not is_missing_object(error) or "s3:GetObject" in message_of(error):
                    raise
                raise ServiceUnavailable(
                    f"s3://{self._bucket}/{key} does not exist: it was deleted, or a step before this one "
                    "was stopped. Start the run again."
                ) from error

    def _put(self, key: str, body: bytes) -> None:
        with translated():
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")


def _size(split: Split) -> Split:
    return Split(lines=split.lines, words=split.words, bytes=split.bytes)


class ItemText(AbstractContextManager["ItemText"]):
    """The text of one item while it is written.

    A text of one part is one request. A longer one is a multipart upload, which S3 shows only when it is
    completed. No object is written if there is no text.
    """

    def __init__(self, s3: S3Client, bucket: str, key: str) -> None:
        self._s3 = s3
        self._object: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._upload: dict[str, Any] = {}
        self._buffer = bytearray()
        self._parts: list[CompletedPartTypeDef] = []

    def write(self, text: bytes) -> None:
        """Append text."""
        self._buffer += text
        while len(self._buffer) >= PART_BYTES:
            self._send(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]

    def _send(self, body: bytes) -> None:
        with translated():
            if not self._upload:
                response = self._s3.create_multipart_upload(
                    **self._object, ContentType=_TEXT, ChecksumAlgorithm=_CHECKSUM
                )
                self._upload = {**self._object, "UploadId": response["UploadId"]}
            number = len(self._parts) + 1
            sent = self._s3.upload_part(
                **self._upload, PartNumber=number, Body=body, ChecksumAlgorithm=_CHECKSUM
            )
        part: CompletedPartTypeDef = {"PartNumber": number, "ETag": sent["ETag"]}
        # S3 wants the checksums of the parts again to verify the whole.
        if "ChecksumCRC32" in sent:
            part["ChecksumCRC32"] = sent["ChecksumCRC32"]
        self._parts.append(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                self._abort(error)
                return
            self._complete()
        except PipelineError as failure:
            self._abort(failure)
            raise
        finally:
            # Lambda uses the process again, and this object may be in a cycle of references.
            self._buffer = bytearray()

    def _complete(self) -> None:
        if self._upload and self._buffer:
            self._send(bytes(self._buffer))
        with translated():
            if self._upload:
                self._s3.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": self._parts})
            elif self._buffer:
                self._s3.put_object(**self._object, Body=bytes(self._buffer), ContentType=_TEXT)

    def _abort(self, error: BaseException) -> None:
        if not self._upload:
            return
        try:
            self._s3.abort_multipart_upload(**self._upload)
        except (ClientError, BotoCoreError) as problem:
            error.add_note(f"The cleanup failed too: {problem}")
