"""The stack's models: every one that was ever trained, in SageMaker's registry under the endpoint's name.

A version's description begins with the name of the run that trained it, so that a listing is enough to find
it; what it is made of and how good it is are in its metadata (functions/pipeline/register.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lexline import aws_trouble
from lexline.errors import UsageError
from lexline.run_ids import id_in
from lexline.target import Stack, Target

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import ModelPackageSummaryTypeDef


@dataclass(frozen=True)
class Model:
    """One version. `name` is the run that trained it.

    `champion` is the model that served then, "" for none; the two figures beside it are both models'
    perplexities on the same text, over the same words, None where they were not compared. `approval` is
    SageMaker's word: Approved, Rejected or PendingManualApproval. `commit` is the scripts', "" where they did
    not come from Git.
    """

    version: int
    name: str
    dataset: str
    trained: datetime
    test_perplexity: float | None
    champion: str
    champion_perplexity: float | None
    challenger_perplexity: float | None
    approval: str
    reason: str
    repository: str
    commit: str

    @property
    def approved(self) -> bool:
        """Whether it may be deployed without force."""
        return self.approval == "Approved"


def newest(target: Target, stack: Stack, count: int) -> list[Model]:
    """The models that were trained last, newest first."""
    packages = itertools.islice(_packages(target, stack), count)
    return [_read(target, package["ModelPackageArn"]) for package in packages]


def find(target: Target, stack: Stack, wanted: str) -> Model:
    """The model of this version, of the run of this name, or of this run id. Raises UsageError."""
    for package in _packages(target, stack):
        name = _name_of(package)
        if wanted in (name, str(package.get("ModelPackageVersion")), id_in(name)):
            return _read(target, package["ModelPackageArn"])
    raise UsageError(f"There is no model {wanted}.", "`lexline models` lists those there are.")


def _packages(target: Target, stack: Stack) -> Iterator[ModelPackageSummaryTypeDef]:
    """Every version, newest first. The first run that trains makes the group; before it there are none."""
    pages = target.sagemaker.get_paginator("list_model_packages")
    try:
        for page in pages.paginate(
            ModelPackageGroupName=stack.endpoint, SortBy="CreationTime", SortOrder="Descending"
        ):
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        if not aws_trouble.is_missing(error):
            raise


def _read(target: Target, arn: str) -> Model:
    package = target.sagemaker.describe_model_package(ModelPackageName=arn)
    metadata = package.get("CustomerMetadataProperties", {})
    name, _, summary = package.get("ModelPackageDescription", "").partition(": ")
    return Model(
        version=package.get("ModelPackageVersion", 0),
        name=metadata.get("run", name),
        dataset=metadata.get("dataset", ""),
        trained=package["CreationTime"],
        test_perplexity=_figure(metadata, "test_perplexity"),
        champion=metadata.get("champion", ""),
        champion_perplexity=_figure(metadata, "champion_perplexity"),
        challenger_perplexity=_figure(metadata, "challenger_perplexity"),
        approval=package.get("ModelApprovalStatus", ""),
        # What was said later, by a failed deployment or by a person, outweighs the gate's word.
        reason=package.get("ApprovalDescription", summary),
        repository=package.get("MetadataProperties", {}).get("Repository", ""),
        commit=metadata.get("commit", ""),
    )


def _name_of(package: ModelPackageSummaryTypeDef) -> str:
    return package.get("ModelPackageDescription", "").partition(":")[0]


def _figure(metadata: Mapping[str, str], name: str) -> float | None:
    text = metadata.get(name)
    return float(text) if text else None
