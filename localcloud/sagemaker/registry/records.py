"""The records of the model registry: groups and the versioned packages in them.

The registry checks nothing against S3 or an image registry, so a package is Completed at once. Packages
without a group (those of AWS Marketplace) are not available.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_CHANGEABLE = ("ClientToken", "CustomerMetadataProperties", "ModelApprovalStatus", "ModelPackageGroupName")
"""Members of a create request that a description does not repeat as they were given."""


@dataclass
class ModelPackageGroup:
    """One model package group.

    last_version: the highest version given so far. The number of a deleted package is not given again.
    versions: the versions that exist.
    """

    arn: str
    request: dict[str, Any]
    created: datetime
    last_version: int = 0
    versions: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The group's name as the caller wrote it."""
        return str(self.request["ModelPackageGroupName"])

    def summary(self) -> dict[str, Any]:
        """Return the group's entry in ListModelPackageGroups."""
        return {
            "ModelPackageGroupName": self.name,
            "ModelPackageGroupArn": self.arn,
            "ModelPackageGroupDescription": self.request.get("ModelPackageGroupDescription"),
            "CreationTime": self.created,
            "ModelPackageGroupStatus": "Completed",
        }

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeModelPackageGroup.

        CreatedBy is empty, as on AWS for callers who do not use SageMaker Studio.
        """
        return self.summary() | {"CreatedBy": {}}


@dataclass
class ModelPackage:
    """One version of a group; `metadata` holds its CustomerMetadataProperties."""

    arn: str
    group: ModelPackageGroup
    version: int
    request: dict[str, Any]
    created: datetime
    approval: str = "PendingManualApproval"
    approval_description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    modified: datetime | None = None

    def summary(self) -> dict[str, Any]:
        """Return the package's entry in ListModelPackages.

        As on AWS, a version has no ModelPackageName, only its group's name.
        """
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
        """Return the response of DescribeModelPackage."""
        given = {name: value for name, value in self.request.items() if name not in _CHANGEABLE}
        return {
            "CertifyForMarketplace": False,
            **given,
            **self.summary(),
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "ApprovalDescription": self.approval_description,
            "CustomerMetadataProperties": dict(self.metadata) or None,
            "CreatedBy": {},
            "LastModifiedTime": self.modified,
            "LastModifiedBy": {} if self.modified else None,
        }
