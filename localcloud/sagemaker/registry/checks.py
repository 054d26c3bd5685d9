"""Checks of requests to the model registry that botocore's service model does not express."""

from typing import Any

from localcloud.sagemaker.core.errors import ValidationError

MAX_METADATA = 50
"""CustomerMetadataProperties of a package, by the service model."""

_UNAVAILABLE = {
    "ManagedStorageType": "managed storage",
    "ModelCard": "model cards",
    "SourceAlgorithmSpecification": "algorithms of the marketplace",
    "ValidationSpecification": "validation by transform jobs",
}
_FIXED = (
    "AdditionalInferenceSpecificationsToAdd",
    "InferenceSpecification",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
    "SourceUri",
)


def check_group(request: dict[str, Any]) -> None:
    """Raise ValidationError if the local cloud does not support the CreateModelPackageGroup request."""
    if "ManagedConfiguration" in request:
        raise ValidationError(
            "Managed storage (ManagedConfiguration) is not available in the local cloud: "
            "artifacts stay where ModelDataUrl says."
        )


def check_package(request: dict[str, Any]) -> None:
    """Raise ValidationError if AWS or the local cloud refuses the CreateModelPackage request."""
    if "ModelPackageGroupName" not in request:
        raise ValidationError(
            "Model packages without a group are not available in the local cloud: "
            "give a ModelPackageGroupName."
        )
    if "ModelPackageName" in request:
        raise ValidationError(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. "
            "Cannot determine which one to use."
        )
    if request.get("Tags"):
        raise ValidationError(
            "Tags are not supported in Model Package versions. Please add them to the Model Package Group."
        )
    for member, feature in _UNAVAILABLE.items():
        if member in request:
            raise ValidationError(f"The local cloud does not have {feature} ({member}).")
    if request.get("CertifyForMarketplace", False):
        raise ValidationError("CertifyForMarketplace does not apply to versioned model packages.")


def check_change(request: dict[str, Any]) -> None:
    """Raise ValidationError if the UpdateModelPackage request changes a fixed member."""
    for member in _FIXED:
        if member in request:
            raise ValidationError(
                f"{member} of a model package cannot be changed in the local cloud: register another."
            )


def check_metadata(arn: str, metadata: dict[str, str]) -> None:
    """Raise ValidationError if a package would have too many CustomerMetadataProperties."""
    if len(metadata) > MAX_METADATA:
        raise ValidationError(
            f"{arn} would have {len(metadata)} CustomerMetadataProperties; {MAX_METADATA} is the most."
        )
