"""Model packages: the versions in a group, each with its artifact, its metrics and whether it is approved.

Records only: nothing is checked against S3 or a registry of images, so a package is Completed at once.
Packages are versioned; those of AWS's marketplace, which stand outside any group, are not available.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ConflictError, ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.registry.model_package_groups import ModelPackageGroup, ModelPackageGroups

MAX_METADATA = 50  # CustomerMetadataProperties of a package, by the service model

_NOT_HERE = {
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
_OWN_MEMBERS = ("ClientToken", "CustomerMetadataProperties", "ModelApprovalStatus", "ModelPackageGroupName")
"""What of a request the record does not describe as it was given."""


@dataclass
class ModelPackage:
    """One version's record."""

    arn: str
    group: ModelPackageGroup
    version: int
    request: dict[str, Any]
    created: datetime
    approval: str = "PendingManualApproval"
    approval_description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    """CustomerMetadataProperties."""
    modified: datetime | None = None

    def summary(self) -> dict[str, Any]:
        """A version has no ModelPackageName, only its group's; so has AWS."""
        return {
            "ModelPackageGroupName": self.group.name,
            "ModelPackageVersion": self.version,
            "ModelPackageArn": self.arn,
            "ModelPackageDescription": self.request.get("ModelPackageDescription"),
            "CreationTime": self.created,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": self.approval,
            "ModelLifeCycle": self.request.get("ModelLifeCycle"),
            "ModelPackageRegistrationType": self.request.get("ModelPackageRegistrationType"),
        }

    def describe(self) -> dict[str, Any]:
        described = {name: value for name, value in self.request.items() if name not in _OWN_MEMBERS}
        return (
            {"CertifyForMarketplace": False}
            | described
            | self.summary()
            | {
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                "ApprovalDescription": self.approval_description,
                "CustomerMetadataProperties": dict(self.metadata) or None,
                "CreatedBy": {},
                "LastModifiedTime": self.modified,
                "LastModifiedBy": {} if self.modified else None,
            }
        )


class ModelPackages:
    """The operations on model packages."""

    def __init__(self, context: Context, groups: ModelPackageGroups) -> None:
        self._context = context
        self._groups = groups
        self._packages: dict[str, ModelPackage] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """The same ClientToken with the same request gives the package it gave before."""
        _check(request)
        with self._context.lock:
            group = self._groups.get(request["ModelPackageGroupName"])
            package = self._made_before(request)
            if package is None:
                package = self._add(group, request)
                self._context.announcer.model_package(package.describe())
        return {"ModelPackageArn": package.arn}

    def creating(self, request: dict[str, Any]) -> list[str]:
        """What creating a package is authorised on: the package it will be, and its group."""
        identifier = request.get("ModelPackageGroupName")
        if identifier is None:
            return [self.arn(request.get("ModelPackageName", "*"))]
        group = self._groups.arn(identifier)
        with self._context.lock:
            version = self._groups.get(group).last_version + 1 if self._groups.exists(group) else 1
        return [self.arn(f"{group.rsplit('/', 1)[1]}/{version}"), group]

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """IncludedData leaves nothing out: it is about model cards."""
        with self._context.lock:
            return self.get(request["ModelPackageName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Of one group, or of all with ModelPackageType Versioned or Both: AWS lists unversioned packages
        when it is told neither. A group that does not exist has no packages.
        """
        with self._context.lock:
            summaries = [
                package.summary() for package in self._packages.values() if self._asked_for(package, request)
            ]
        shown, token = listing.page(
            summaries,
            request,
            kind="ModelPackage",
            default_order="Ascending",
            name="ModelPackageGroupName",
            then="ModelPackageVersion",
        )
        return {"ModelPackageSummaryList": shown, "NextToken": token}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        """ClientToken is not looked at: the same update twice leaves what it leaves once."""
        for member in _FIXED:
            if member in request:
                raise ValidationError(
                    f"{member} of a model package cannot be changed in the local cloud: register another."
                )
        with self._context.lock:
            package = self.get(request["ModelPackageArn"])
            metadata = package.metadata | request.get("CustomerMetadataProperties", {})
            for key in request.get("CustomerMetadataPropertiesToRemove", []):
                metadata.pop(key, None)
            if len(metadata) > MAX_METADATA:
                raise ValidationError(
                    f"{package.arn} would have {len(metadata)} CustomerMetadataProperties; "
                    f"{MAX_METADATA} is the most."
                )
            self._change(package, request, metadata)
        return {"ModelPackageArn": package.arn}

    def delete(self, request: dict[str, Any]) -> None:
        """Models made of the package are records of their own, and stay."""
        with self._context.lock:
            package = self.get(request["ModelPackageName"])
            del self._packages[package.arn]
            package.group.versions.remove(package.version)

    def get(self, identifier: str) -> ModelPackage:
        """The package of this ARN or GROUP/VERSION, or AWS's ValidationError."""
        arn = self.arn(identifier)
        with self._context.lock:
            if arn not in self._packages:
                raise ValidationError(f"ModelPackage {arn} does not exist.")
            return self._packages[arn]

    def arn(self, identifier: str) -> str:
        """The ARN of the package of this ARN or GROUP/VERSION, whether there is one or not."""
        if identifier.startswith("arn:"):
            return identifier
        return self._context.arn("model-package", identifier)

    def _made_before(self, request: dict[str, Any]) -> ModelPackage | None:
        token = request.get("ClientToken")
        if token is None:
            return None
        for package in self._packages.values():
            if package.request.get("ClientToken") == token:
                if package.request != request:
                    raise ConflictError(
                        f"ClientToken {token} has been used to create {package.arn} with other parameters: "
                        "use a new one."
                    )
                return package
        return None

    def _add(self, group: ModelPackageGroup, request: dict[str, Any]) -> ModelPackage:
        group.last_version += 1
        group.versions.add(group.last_version)
        arn = self.arn(f"{group.name}/{group.last_version}")
        package = ModelPackage(arn, group, group.last_version, request, now())
        package.approval = request.get("ModelApprovalStatus", package.approval)
        package.metadata = dict(request.get("CustomerMetadataProperties", {}))
        self._packages[arn] = package
        return package

    def _change(self, package: ModelPackage, request: dict[str, Any], metadata: dict[str, str]) -> None:
        changes = {
            "ModelApprovalStatus": request.get("ModelApprovalStatus", package.approval) != package.approval,
            "ApprovalDescription": "ApprovalDescription" in request,
            "CustomerMetadataProperties": metadata != package.metadata,
        }
        package.approval = request.get("ModelApprovalStatus", package.approval)
        package.approval_description = request.get("ApprovalDescription", package.approval_description)
        package.metadata = metadata
        package.modified = now()
        changed = [member for member, has_changed in changes.items() if has_changed]
        if changed:
            self._context.announcer.model_package(package.describe(), changed)

    def _asked_for(self, package: ModelPackage, request: dict[str, Any]) -> bool:
        if request.get("ModelApprovalStatus", package.approval) != package.approval:
            return False
        if "ModelPackageGroupName" in request:
            return package.group.arn == self._groups.arn(request["ModelPackageGroupName"])
        return request.get("ModelPackageType") in ("Versioned", "Both")


def _check(request: dict[str, Any]) -> None:
    """What the service model does not say, and what this cloud does not have."""
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
    for member, feature in _NOT_HERE.items():
        if member in request:
            raise ValidationError(f"The local cloud does not have {feature} ({member}).")
    if request.get("CertifyForMarketplace", False):
        raise ValidationError("CertifyForMarketplace does not apply to versioned model packages.")
