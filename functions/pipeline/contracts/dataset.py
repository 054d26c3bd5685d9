"""The dataset: the plan of its reading, the results of the items, the manifest, and what the steps return."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from contracts.base import Contract, DatasetName, RunName, S3Uri, Sha256
from contracts.run import LeasedInput


class SourceObject(Contract):
    """One uploaded object, in exactly the version that was read."""

    uri: S3Uri
    etag: str
    version_id: str = ""


class Split(Contract):
    """The size of a text or of a part of it. Words are separated by white space."""

    lines: int = Field(ge=0)
    words: int = Field(ge=0)
    bytes: int = Field(ge=0)


class Splits(Contract):
    """The sizes of train, valid and test."""

    train: Split
    valid: Split
    test: Split


# --- the plan: which uploaded objects are read, and by which item -----------------------------------


class LeftOut(Contract):
    """A file that is not part of the corpus.

    `name` is the file's name below uploads/<dataset>/, and for a member of an archive the archive's name, a
    slash and the member's path. `reason` is a sentence that says what to do. `error` is the class in
    `core.errors` that the run fails with if there is nothing else; it is empty for a file that only comes
    with a corpus, such as a README.
    """

    name: str
    reason: str
    error: str = ""


class PlannedObject(Contract):
    """An uploaded object that an item reads. `name` is its key below uploads/<dataset>/."""

    name: str = Field(min_length=1)
    etag: str
    size: int = Field(ge=1)


class Item(Contract):
    """What one invocation of ReadUpload reads: objects in the order of their keys, or a range of one.

    `first` and `end` are byte offsets in the only object. `end` is 0 if the objects are read whole. The
    item's text goes to the object corpus/<object_name>.
    """

    number: int = Field(ge=0)
    objects: list[PlannedObject] = Field(min_length=1)
    first: int = Field(default=0, ge=0)
    end: int = Field(default=0, ge=0)

    @property
    def object_name(self) -> str:
        """The name of the object with the item's text, which manifest.json's ranges use."""
        return f"{self.number:05d}"


class Plan(Contract):
    """All items of a dataset, and the objects that are left out for their names."""

    dataset: DatasetName
    items: list[Item]
    left_out: list[LeftOut]


# --- the result of an item ---------------------------------------------------------------------------


class Block(Contract):
    """A contiguous part of a text, about 64 MiB.

    `parts` has the sizes of train, valid and test, in this order, if the block is cut in itself; else one
    size, because the block goes whole to one split.
    """

    sha256: Sha256
    parts: list[Split] = Field(min_length=1, max_length=3)


class TextFile(Contract):
    """A text, or the range of it that the item read.

    `name` is as in LeftOut. The blocks lie one after the other in the item's object, from the byte offset
    `start`. Bytes of the object that belong to no text are not part of the corpus. `notes` are sentences
    about what was tolerated.
    """

    name: str
    start: int = Field(ge=0)
    blocks: list[Block] = Field(min_length=1)
    notes: list[str] = Field(default_factory=list)

    @property
    def words(self) -> int:
        """The words of all blocks."""
        return sum(part.words for block in self.blocks for part in block.parts)


class ItemResult(Contract):
    """What ReadUpload found in an item."""

    source: list[SourceObject] = Field(default_factory=list)
    files: list[TextFile] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(default_factory=list)


# --- the manifest ------------------------------------------------------------------------------------


class SplitRanges(Split):
    """A split's size, and where its text is.

    `ranges` has the object beside the manifest, the first byte, and the byte after the last, in the order of
    the text.
    """

    ranges: list[tuple[str, int, int]]


class ManifestSplits(Contract):
    """Train, valid and test with their ranges."""

    train: SplitRanges
    valid: SplitRanges
    test: SplitRanges


class ManifestFile(Split):
    """A text of the corpus."""

    name: str
    notes: list[str] = Field(default_factory=list)


class Manifest(Contract):
    """The content of manifest.json, which is written last: a corpus without it is not complete.

    `fingerprint` is the SHA-256 of the splits' blocks. It depends only on the text and its splits. `preview`
    has the first lines of the text.
    """

    dataset: DatasetName
    fingerprint: Sha256
    run: RunName
    prepared_at: AwareDatetime
    splits: ManifestSplits
    files: list[ManifestFile]
    left_out: list[LeftOut]
    source: list[SourceObject]
    preview: list[str] = Field(default_factory=list)


# --- what the state machine passes on ----------------------------------------------------------------


class ListUploadsInput(LeasedInput):
    """The input of ListUploads."""


class Listed(Contract):
    """Where the plan's items are, and how many; the Map ReadUploads reads them from there."""

    bucket: str
    items_key: str
    items: int = Field(ge=1)


class ReadUploadInput(LeasedInput):
    """The input of ReadUpload."""

    item: Item


class AssembleDatasetInput(LeasedInput):
    """The input of AssembleDataset."""


class Prepared(Contract):
    """A checked and split corpus under `prepared_uri`, described by the manifest.

    `left_out` and `notes` have the first 20; the manifest has all. A note begins with its file's name.
    """

    outcome: Literal["prepared"] = "prepared"
    dataset: DatasetName
    fingerprint: Sha256
    prepared_uri: S3Uri = Field(pattern=r"^s3://[^/]+/.+/$")
    manifest_uri: S3Uri
    splits: Splits
    files: int = Field(ge=1)
    left_out: list[LeftOut]
    left_out_count: int = Field(ge=0)
    notes: list[str]


class NotPrepared(Contract):
    """The result if some of the three split files are still missing.

    `reason` is a sentence for the person who uploaded.
    """

    outcome: Literal["waiting"] = "waiting"
    dataset: DatasetName
    reason: str


PrepareOutcome = Annotated[Prepared | NotPrepared, Field(discriminator="outcome")]
