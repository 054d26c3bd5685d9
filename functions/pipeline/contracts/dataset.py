"""The dataset: what Prepare receives and returns."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Contract, DatasetName, S3Uri, Sha256
from contracts.run import LeasedInput


class PrepareInput(LeasedInput):
    """The input of Prepare."""


class SourceObject(Contract):
    """One uploaded object, in exactly the version that was read."""

    uri: S3Uri
    etag: str
    version_id: str = ""


class Split(Contract):
    """The size of one prepared file."""

    lines: int = Field(ge=0)
    words: int = Field(ge=0)
    bytes: int = Field(ge=0)


class Splits(Contract):
    """The sizes of the three prepared files."""

    train: Split
    valid: Split
    test: Split


class Prepared(Contract):
    """A checked and split corpus under `prepared_uri`: train, valid, test and manifest.json.

    `fingerprint` is the SHA-256 of what was prepared, so the same corpus always has the same `prepared_uri`.
    """

    outcome: Literal["prepared"] = "prepared"
    dataset: DatasetName
    source: list[SourceObject] = Field(min_length=1)
    fingerprint: Sha256
    prepared_uri: S3Uri = Field(pattern=r"^s3://[^/]+/.+/$")
    manifest_uri: S3Uri
    splits: Splits


class NotPrepared(Contract):
    """The result of Prepare if there is nothing to train on.

    `waiting`: some of the three split files are still missing. `seen`: an earlier run has read the same
    uploads. `reason` is a sentence for the person who uploaded.
    """

    outcome: Literal["waiting", "seen"]
    dataset: DatasetName
    reason: str


PrepareOutcome = Annotated[Prepared | NotPrepared, Field(discriminator="outcome")]
