"""Reading one item: from uploaded objects to checked text in blocks, and what was left out.

The content of a file never fails an item. A file that is no text is left out with a reason, and the other
files of the dataset are the corpus. An archive is read whole or not at all: if it is damaged, encrypted or
unsafe, none of its members is in the corpus. A member that is no text is left out alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from contracts.dataset import Item, ItemResult, LeftOut, SourceObject, TextFile
from core.errors import (
    ArchiveHasNoCorpus,
    ArchiveNested,
    DatasetEmpty,
    DatasetNotText,
    DatasetNotUtf8,
    DatasetReplaced,
    DatasetTooLarge,
    InvalidDataset,
)
from uploads import file_kinds, file_names, json_lines, ranges, text_lines
from uploads.blocks import blocks
from uploads.containers import Container, open_container
from uploads.encodings import SAMPLE, UTF_8, Encoding, Guesses, encoding_of, is_utf_8
from uploads.file_kinds import HEAD
from uploads.left_out import left_out
from uploads.object_reader import ObjectReader

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# What may be wrong with one member of an archive. Any other InvalidDataset is wrong with the whole object.
_OF_A_MEMBER = (ArchiveNested, DatasetEmpty, DatasetNotText, DatasetNotUtf8)


def read(
    s3: S3Client, bucket: str, dataset: str, item: Item, write: Callable[[bytes], object], seconds: float
) -> ItemResult:
    """Read an item's objects and write their text.

    Args:
        s3: the client for the uploaded objects.
        bucket: their bucket.
        dataset: the dataset's name.
        item: from the plan.
        write: receives the text in UTF-8, in the order of the item's object, in pieces of whole lines. Bytes
            of a file that is left out after all may be among them.
        seconds: how long reading may take. An object that takes longer is left out.

    Raises:
        DatasetReplaced: An object was replaced or deleted since it was listed. List the uploads again.
        PipelineError: S3 refused for another reason.
    """
    reading = _Reading(write, seconds)
    for planned in item.objects:
        key = f"uploads/{dataset}/{planned.name}"
        # Closing frees the buffer of 8 MiB, which a cycle of references would keep.
        with ObjectReader(s3, bucket, key, planned.etag, planned.size, reading.check_time) as source:
            reading.read_object(planned.name, source, item)
    return ItemResult(source=reading.source, files=reading.files, left_out=reading.left_out)


def is_plain_text(head: bytes, name: str) -> bool:
    """Return whether a large file that begins with `head` may be read in ranges: UTF-8, not packed."""
    try:
        _check_kind(head, name)
    except InvalidDataset:
        return False
    return encoding_of(head, is_whole=False).codec == "utf-8" and is_utf_8(head, is_whole=False)


class _Reading:
    """The state of reading one item."""

    def __init__(self, write: Callable[[bytes], object], seconds: float) -> None:
        self.source: list[SourceObject] = []
        self.files: list[TextFile] = []
        self.left_out: list[LeftOut] = []
        self._write = write
        self._written = 0
        self._seconds = seconds
        self._started = time.monotonic()
        self._guesses = Guesses()

    def check_time(self) -> None:
        """Check that there is time to read more.

        Raises:
            DatasetTooLarge: There is not.
        """
        if time.monotonic() - self._started > self._seconds:
            raise DatasetTooLarge(
                f"It takes longer to read than the {self._seconds:.0f} seconds that a function has for it. "
                "Upload it in parts, or unpacked: plain text of any size is read in parallel."
            )

    def read_object(self, name: str, source: ObjectReader, item: Item) -> None:
        """Read an object, or the item's range of it."""
        files, left = len(self.files), len(self.left_out)
        try:
            if item.end:
                self._read_range(name, source, item.first, item.end)
            else:
                self._read_container(name, open_container(source))
        except DatasetReplaced:
            raise
        except InvalidDataset as error:
            # What was written of it stays in the item's object, unused.
            del self.files[files:], self.left_out[left:]
            self.left_out.append(left_out(name, error))
        self.source.append(SourceObject.model_validate(source, from_attributes=True))

    def _read_range(self, name: str, source: ObjectReader, first: int, end: int) -> None:
        head = source.read(HEAD)
        is_json = _is_json_lines(head, name)
        first, end = (ranges.boundary(source, offset, is_json) for offset in (first, end))
        encoding = encoding_of(head, is_whole=False) if first == 0 else UTF_8
        content = ranges.content(source, first, end)
        self._read_text(name, content, encoding, is_json, [], first, is_range=True)

    def _read_container(self, name: str, container: Container) -> None:
        files, left = len(self.files), len(self.left_out)
        for file in container.files:
            if container.is_archive:
                self._read_member(f"{name}/{file.path}", file.path, file.content)
            else:
                self._read_file(name, file.content, container.notes)
        if not container.is_archive:
            return
        if len(self.files) == files:
            raise _without_text(name, self.left_out[left:])
        first = self.files[files]
        self.files[files] = first.model_copy(update={"notes": [*first.notes, *container.notes]})

    def _read_member(self, name: str, path: str, content: Iterator[bytes]) -> None:
        if reason := file_names.why_not_named_as_text(path):
            self.left_out.append(LeftOut(name=name, reason=reason))
            return
        try:
            self._read_file(name, content, [])
        except _OF_A_MEMBER as error:
            self.left_out.append(left_out(name, error))

    def _read_file(self, name: str, content: Iterator[bytes], notes: list[str]) -> None:
        head, content = _with_head(content)
        if not head:
            raise DatasetEmpty("It is empty. Upload it with its text.")
        _check_kind(head[:HEAD], name)
        encoding = encoding_of(head[:HEAD], len(head) <= HEAD)
        if encoding.note:
            notes.append(encoding.note)
        files = len(self.files)
        self._read_text(name, content, encoding, _is_json_lines(head[:HEAD], name), notes)
        if not any(file.words for file in self.files[files:]):
            del self.files[files:]
            raise DatasetEmpty("It contains no words. Upload it with its text.")

    def _read_text(
        self,
        name: str,
        content: Iterator[bytes],
        encoding: Encoding,
        is_json: bool,
        notes: list[str],
        offset: int = 0,
        *,
        is_range: bool = False,
    ) -> None:
        """Write the text of one file, and remember it."""
        pieces = text_lines.decoded(content, encoding, self._guesses, offset)
        if is_json:
            where = f" after byte {offset:,}" if offset else ""
            pieces = json_lines.texts(pieces, notes.append, where)
        start = self._written
        found = []
        for block in blocks(text_lines.lines(pieces), is_range):
            found.append(block.finished())
            for piece in block.pieces:
                self._write(piece)
                self._written += len(piece)
        if found:
            self.files.append(TextFile(name=name, start=start, blocks=found, notes=notes))


def _with_head(content: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes of a file, enough to guess an encoding, and all of the file."""
    first = b""
    while len(first) < SAMPLE and (chunk := next(content, b"")):
        first += chunk
    return first, itertools.chain([first], content)


def _check_kind(head: bytes, name: str) -> None:
    """Check that a file may be a text.

    Raises:
        DatasetNotText: It is something else.
        ArchiveNested: It is packed within an archive.
    """
    if error := file_kinds.zip_document(head) or file_kinds.why_not_text(head, name):
        raise error
    if packing := file_kinds.packing_of(head):
        raise ArchiveNested(
            f"It is packed ({packing}) within an archive. Unpack it, and pack the texts themselves."
        )
    text = _text_of(head)
    if file_kinds.is_markup(text):
        raise file_names.markup()
    if error := file_names.format_not_read(name):
        raise error
    if file_kinds.is_checksums(text):
        raise DatasetNotText(
            "It is a list of checksums. Delete it, or leave it: it is not a part of the corpus."
        )


def _is_json_lines(head: bytes, name: str) -> bool:
    return file_names.is_json(name) or file_kinds.is_json_lines(_text_of(head))


def _text_of(head: bytes) -> str:
    encoding = encoding_of(head, is_whole=False)
    return head[encoding.mark :].decode(encoding.codec, "ignore")


def _without_text(name: str, members: list[LeftOut]) -> ArchiveHasNoCorpus:
    """Return the error for an archive, given its members that were left out."""
    found = "It has no file."
    if members:
        found = f"{members[0].name.removeprefix(f'{name}/')!r}: {members[0].reason}"
    return ArchiveHasNoCorpus(f"It contains no text. {found} Pack one or more plain text files in UTF-8.")
