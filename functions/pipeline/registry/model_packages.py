"""The model package group: every model that was ever trained, with what it was made of and how good it is.

The group has the endpoint's name and is made when first needed. A package's description begins with the name
of the run that trained it, so that a listing is enough to find it; the rest is in its metadata, whose values
may hold letters, digits, spaces and _.:/=+-@ (CreateModelPackage's reference).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import ValidationError

from contracts.registry import Registered
from core import aws
from core.errors import ModelNotFound
from core.text import sentence

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        CreateModelPackageInputTypeDef,
        DescribeModelPackageOutputTypeDef,
        ModelPackageSummaryTypeDef,
    )

_LONGEST_VALUE, _LONGEST_DESCRIPTION = 256, 1024
_NOT_ALLOWED = re.compile(r"[^\w .:/=+\-@]")


def register(
    group: str, model: str, summary: str, metadata: Mapping[str, str], request: CreateModelPackageInputTypeDef
) -> str:
    """Make a version of `model` in the group, or find the one that was made before; answers its ARN."""
    for package in _packages(group):
        if _model_of(package) == model:
            return package["ModelPackageArn"]
    return _created(
        {
            **request,
            "ModelPackageGroupName": group,
            "ModelPackageDescription": f"{model}: {summary}"[:_LONGEST_DESCRIPTION],
            "CustomerMetadataProperties": {name: _value(text) for name, text in metadata.items() if text},
            "ClientToken": hashlib.sha256(model.encode()).hexdigest()[:36],
        }
    )


def find(group: str, wanted: str) -> Registered:
    """The model that a run of this name trained, or that has this version. Raises ModelNotFound."""
    for package in _packages(group):
        if wanted in (_model_of(package), str(package.get("ModelPackageVersion"))):
            return read(package["ModelPackageArn"])
    raise ModelNotFound(
        f"No model {wanted} is registered in {group}. `lexline models` lists those there are."
    )


def read(arn: str) -> Registered:
    """A registered model as it is now. Raises ModelNotFound for a version that no run registered."""
    package = aws.sagemaker().describe_model_package(ModelPackageName=arn)
    metadata = package.get("CustomerMetadataProperties", {})
    try:
        return Registered.model_validate(
            {
                "arn": package["ModelPackageArn"],
                "version": package.get("ModelPackageVersion", 0),
                "model": metadata.get("run", ""),
                "approved": package.get("ModelApprovalStatus") == "Approved",
                "model_artifacts": _artifacts(package),
                "dataset": metadata.get("dataset", ""),
                "fingerprint": metadata.get("fingerprint", ""),
                "identity": metadata.get("identity", ""),
                "test_perplexity": metadata.get("test_perplexity"),
            }
        )
    except ValidationError as error:
        raise ModelNotFound(
            f"Model package {arn} was not registered by a run of this pipeline; its metadata lacks what is "
            f"needed to deploy it: {sentence(error)}"
        ) from error


def reject(arn: str, why: str) -> None:
    """Let the model not be deployed again without force."""
    aws.sagemaker().update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription=described(why)
    )


def described(text: str) -> str:
    """A sentence as a description takes it: one line of at most 1,024 characters."""
    return " ".join(text.split())[:_LONGEST_DESCRIPTION]


def _created(request: CreateModelPackageInputTypeDef) -> str:
    sagemaker = aws.sagemaker()
    try:
        return sagemaker.create_model_package(**request)["ModelPackageArn"]
    except ClientError as error:
        if not aws.is_missing(error):
            raise
    try:
        sagemaker.create_model_package_group(
            ModelPackageGroupName=str(request["ModelPackageGroupName"]),
            ModelPackageGroupDescription="Language models trained by Lexline.",
        )
    except ClientError as error:
        if not aws.already_exists(error):
            raise
    return sagemaker.create_model_package(**request)["ModelPackageArn"]


def _packages(group: str) -> Iterator[ModelPackageSummaryTypeDef]:
    """Every version, newest first."""
    pages = aws.sagemaker().get_paginator("list_model_packages")
    try:
        for page in pages.paginate(
            ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
        ):
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        if not aws.is_missing(error):
            raise


def _model_of(package: ModelPackageSummaryTypeDef) -> str:
    return package.get("ModelPackageDescription", "").partition(":")[0]


def _artifacts(package: DescribeModelPackageOutputTypeDef) -> str:
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    return containers[0].get("ModelDataUrl", "") if containers else ""


def _value(text: str) -> str:
    return _NOT_ALLOWED.sub("_", text)[:_LONGEST_VALUE]
