"""The registry: a SageMaker model package group with a version for every model that was trained.

The group has the endpoint's name and is created when the first model is registered. The description of a
version begins with the name of the run that trained the model, so one listing is enough to find it. The rest
is in the version's metadata, whose values may contain letters, digits, spaces and _.:/=+-@
(CreateModelPackage's API reference).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import ValidationError

from contracts.registry import Registered
from core import aws, ownership
from core.errors import ModelNotFound
from core.text import sentence

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import type_defs as types

_LONGEST_VALUE, _LONGEST_DESCRIPTION = 256, 1024
_NOT_ALLOWED = re.compile(r"[^\w .:/=+\-@]")


def register(
    group: str,
    model: str,
    summary: str,
    metadata: Mapping[str, str],
    request: types.CreateModelPackageInputTypeDef,
) -> str:
    """Create a version of the model in the group, unless it has one.

    Args:
        group: the model package group, created if it does not exist.
        model: the name of the run that trained the model.
        summary: one line of text.
        metadata: values by name; empty values are left out, long ones cut, and other characters become `_`.
        request: further parameters of CreateModelPackage.

    Returns:
        The version's ARN.

    Raises:
        NotOwned: the group is not this stack's.
    """
    if not ownership.check("model-package-group", group):
        try:
            aws.sagemaker().create_model_package_group(
                ModelPackageGroupName=group,
                ModelPackageGroupDescription="Language models trained by Lexline.",
                Tags=[ownership.tag()],
            )
        except ClientError as error:
            if not aws.already_exists(error):
                raise
            # Another run has created it a moment ago, perhaps another stack's.
            ownership.check("model-package-group", group)
    for package in packages(group):
        if _model_of(package) == model:
            return package["ModelPackageArn"]
    version: types.CreateModelPackageInputTypeDef = {
        **request,
        "ModelPackageGroupName": group,
        "ModelPackageDescription": f"{model}: {summary}"[:_LONGEST_DESCRIPTION],
        "CustomerMetadataProperties": {
            name: _NOT_ALLOWED.sub("_", text)[:_LONGEST_VALUE] for name, text in metadata.items() if text
        },
        "ClientToken": hashlib.sha256(model.encode()).hexdigest()[:36],
    }
    return aws.sagemaker().create_model_package(**version)["ModelPackageArn"]


def packages(group: str) -> Iterator[types.ModelPackageSummaryTypeDef]:
    """Yield every version, newest first; none if the group does not exist."""
    pages = aws.sagemaker().get_paginator("list_model_packages")
    with aws.allowing(aws.is_missing):
        for page in pages.paginate(
            ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
        ):
            yield from page["ModelPackageSummaryList"]


def find(group: str, name: str) -> Registered:
    """Return the model with this version, or the one that the run of this name trained.

    Raises:
        NotOwned: the group is not this stack's.
        ModelNotFound: the group has no such model.
    """
    ownership.check("model-package-group", group)
    for package in packages(group):
        if name in (_model_of(package), str(package.get("ModelPackageVersion"))):
            return read(package["ModelPackageArn"])
    raise ModelNotFound(f"No model {name} is registered in {group}. `lexline models` lists the models.")


def read(arn: str) -> Registered:
    """Return the registered model as it is now.

    Raises:
        ModelNotFound: no run of this pipeline registered the version.
    """
    package = aws.sagemaker().describe_model_package(ModelPackageName=arn)
    metadata = package.get("CustomerMetadataProperties", {})
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    try:
        return Registered.model_validate(
            {
                "arn": package["ModelPackageArn"],
                "version": package.get("ModelPackageVersion", 0),
                "model": metadata.get("run", ""),
                "approved": package.get("ModelApprovalStatus") == "Approved",
                "model_artifacts": containers[0].get("ModelDataUrl", "") if containers else "",
                "dataset": metadata.get("dataset", ""),
                "fingerprint": metadata.get("fingerprint", ""),
                "identity": metadata.get("identity", ""),
                "test_perplexity": metadata.get("test_perplexity"),
                "test_unknown_share": metadata.get("test_unknown_share") or None,
            }
        )
    except ValidationError as error:
        raise ModelNotFound(
            f"Model package {arn} was not registered by a run of this pipeline: its metadata lacks fields "
            f"that a deployment needs: {sentence(error, Registered)}"
        ) from error


def reject(arn: str, reason: str) -> None:
    """Mark the model as rejected, so that it is deployed only with `force`."""
    aws.sagemaker().update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription=one_line(reason)
    )


def one_line(text: str) -> str:
    """Return the text as a description: one line of at most 1,024 characters."""
    return " ".join(text.split())[:_LONGEST_DESCRIPTION]


def _model_of(package: types.ModelPackageSummaryTypeDef) -> str:
    return package.get("ModelPackageDescription", "").partition(":")[0]
