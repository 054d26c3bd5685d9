"""The models that runs trained, from SageMaker's model registry.

The model package group has the endpoint's name. The Register step writes the run's name to the beginning of
each version's description, so that one listing is enough to find a model. Figures and origins are in the
version's metadata.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lexline.aws import client_errors
from lexline.aws.runs import id_in
from lexline.aws.stack import Stack
from lexline.core.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import ModelPackageSummaryTypeDef

_APPROVALS = {"Approved": "approved", "Rejected": "rejected", "PendingManualApproval": "pending"}


@dataclass(frozen=True)
class Model:
    """One version of the model.

    Attributes:
        version: Number of the version.
        name: The run that trained the model.
        dataset: The dataset that it was trained on.
        trained: When it was registered.
        test_perplexity: Perplexity on the test text of its own dataset.
        test_unknown_share: The share of that text that it reads as unknown words, or None.
        champion: The model that served at that time, or "".
        champion_perplexity: The champion's perplexity in the comparison, or None.
        challenger_perplexity: This model's perplexity on the same words, or None.
        approval: SageMaker's word: Approved, Rejected or PendingManualApproval.
        reason: Why it was approved or rejected.
        repository: Git repository of the scripts, or "".
        commit: Git commit of the scripts, or "".
    """

    version: int
    name: str
    dataset: str
    trained: datetime
    test_perplexity: float | None
    test_unknown_share: float | None
    champion: str
    champion_perplexity: float | None
    challenger_perplexity: float | None
    approval: str
    reason: str
    repository: str
    commit: str

    @property
    def approved(self) -> bool:
        """Whether the model may be deployed without --force."""
        return self.approval == "Approved"

    @property
    def approval_word(self) -> str:
        """Whether it is approved, in a word."""
        return _APPROVALS.get(self.approval, self.approval or "not approved")


def newest(stack: Stack, count: int) -> list[Model]:
    """Return the models that were trained last, newest first."""
    packages = itertools.islice(_packages(stack), count)
    return [_read(stack, package["ModelPackageArn"]) for package in packages]


def find(stack: Stack, wanted: str) -> Model:
    """Return the model with a version number, run name or run id.

    Raises:
        UsageError: No model matches.
    """
    for package in _packages(stack):
        name = package.get("ModelPackageDescription", "").partition(":")[0]
        if wanted in (name, str(package.get("ModelPackageVersion")), id_in(name)):
            return _read(stack, package["ModelPackageArn"])
    raise UsageError(f"There is no model {wanted}.", "`lexline models` lists the models.")


def artifact(stack: Stack, model: Model) -> str:
    """Return the S3 URI of a model's artifact, model.tar.gz.

    Raises:
        UsageError: The model is not registered any more.
    """
    for package in _packages(stack):
        if package.get("ModelPackageVersion") == model.version:
            described = stack.target.sagemaker.describe_model_package(
                ModelPackageName=package["ModelPackageArn"]
            )
            return described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    raise UsageError(f"There is no model {model.version}.", "`lexline models` lists the models.")


def _packages(stack: Stack) -> Iterator[ModelPackageSummaryTypeDef]:
    pages = stack.target.sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=stack.endpoint, SortBy="CreationTime", SortOrder="Descending"
    )
    try:
        for page in pages:
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        # The first run that trains creates the group.
        if not client_errors.is_missing(error):
            raise


def _read(stack: Stack, arn: str) -> Model:
    package = stack.target.sagemaker.describe_model_package(ModelPackageName=arn)
    metadata = package.get("CustomerMetadataProperties", {})
    name, _, summary = package.get("ModelPackageDescription", "").partition(": ")
    return Model(
        version=package.get("ModelPackageVersion", 0),
        name=metadata.get("run", name),
        dataset=metadata.get("dataset", ""),
        trained=package["CreationTime"],
        test_perplexity=_number(metadata, "test_perplexity"),
        test_unknown_share=_number(metadata, "test_unknown_share"),
        champion=metadata.get("champion", ""),
        champion_perplexity=_number(metadata, "champion_perplexity"),
        challenger_perplexity=_number(metadata, "challenger_perplexity"),
        approval=package.get("ModelApprovalStatus", ""),
        # A failed deployment or a person may have changed the approval after the gate's decision.
        reason=package.get("ApprovalDescription", summary),
        repository=package.get("MetadataProperties", {}).get("Repository", ""),
        commit=metadata.get("commit", ""),
    )


def _number(metadata: Mapping[str, str], name: str) -> float | None:
    return float(metadata[name]) if metadata.get(name) else None
