"""The dataset: what Prepare receives and returns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from contracts.base import Contract, DatasetName, S3Uri, Sha256
from contracts.run import Lease, Run


class PrepareInput(Contract):
    run: Run
    lease: Lease


class SourceObject(Contract):
    """One uploaded object, pinned to the very bytes that were read."""

    uri: S3Uri
    etag: str
    version_id: str = ""


class Split(Contract):
    """The size of one prepared file."""

    lines: int = Field(ge=0)
    words: int = Field(ge=0)
    bytes: int = Field(ge=0)


class Splits(Contract):
    train: Split
    valid: Split
    test: Split


class Prepared(Contract):
    """A corpus checked, split and written under `prepared_uri` as train, valid, test and manifest.json.

    `fingerprint` is a SHA-256 over what was prepared: the same corpus prepared again lands in the same place.
    """

    outcome: Literal["prepared"] = "prepared"
    dataset: DatasetName
    source: list[SourceObject] = Field(min_length=1)
    fingerprint: Sha256
    prepared_uri: S3Uri = Field(pattern=r"^s3://[^/]+/.+/$")
    manifest_uri: S3Uri
    splits: Splits


class NotPrepared(Contract):
    """Nothing to train on in this run.

    `waiting`: some of the three split files have not arrived yet. `seen`: an earlier run has read these very
    uploads. `reason` is a sentence for the person who uploaded.
    """

    outcome: Literal["waiting", "seen"]
    dataset: DatasetName
    reason: str


PrepareOutcome = Annotated[Prepared | NotPrepared, Field(discriminator="outcome")]


PREPARE_OUTCOME: TypeAdapter[Prepared | NotPrepared] = TypeAdapter(PrepareOutcome)
