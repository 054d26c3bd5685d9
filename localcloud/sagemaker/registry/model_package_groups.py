"""Model package groups: the models of one purpose, under versions that rise. Records only."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ConflictError, ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of


@dataclass
class ModelPackageGroup:
    """One group's record."""

    arn: str
    request: dict[str, Any]
    created: datetime
    last_version: int = 0
    """The highest version that was ever given; deleting a package frees none."""
    versions: set[int] = field(default_factory=set)
    """Those there are."""

    @property
    def name(self) -> str:
        name: str = self.request["ModelPackageGroupName"]
        return name

    def summary(self) -> dict[str, Any]:
        return {
            "ModelPackageGroupName": self.name,
            "ModelPackageGroupArn": self.arn,
            "ModelPackageGroupDescription": self.request.get("ModelPackageGroupDescription"),
            "CreationTime": self.created,
            "ModelPackageGroupStatus": "Completed",
        }

    def describe(self) -> dict[str, Any]:
        """CreatedBy is empty, as on AWS for whoever is not a user of SageMaker Studio."""
        return self.summary() | {"CreatedBy": {}}


class ModelPackageGroups:
    """The operations on groups; each takes a group's name or its ARN."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._groups: dict[str, ModelPackageGroup] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        if "ManagedConfiguration" in request:
            raise ValidationError(
                "Managed storage (ManagedConfiguration) is not available in the local cloud: "
                "artifacts stay where ModelDataUrl says."
            )
        arn = self.arn(request["ModelPackageGroupName"])
        with self._context.lock:
            if arn in self._groups:
                raise ValidationError(f"Model Package Group already exists: {arn}")
            self._context.tags.put(arn, tags_of(request))
            self._groups[arn] = ModelPackageGroup(arn, request, now())
        return {"ModelPackageGroupArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.get(request["ModelPackageGroupName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """No other account shares groups with this one, so CrossAccount lists none."""
        foreign = request.get("CrossAccountFilterOption") == "CrossAccount"
        with self._context.lock:
            summaries = [] if foreign else [group.summary() for group in self._groups.values()]
        shown, token = listing.page(summaries, request, kind="ModelPackageGroup", default_order="Ascending")
        return {"ModelPackageGroupSummaryList": shown, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        with self._context.lock:
            group = self.get(request["ModelPackageGroupName"])
            if group.versions:
                raise ConflictError(
                    f"Model Package Group {group.arn} cannot be deleted because it still contains "
                    "Model Packages."
                )
            del self._groups[group.arn]
            self._context.tags.drop(group.arn)

    def get(self, identifier: str) -> ModelPackageGroup:
        """The group of this name or ARN, or AWS's ValidationError."""
        arn = self.arn(identifier)
        with self._context.lock:
            if arn not in self._groups:
                raise ValidationError(f"ModelPackageGroup {arn} does not exist.")
            return self._groups[arn]

    def arn(self, identifier: str) -> str:
        """The ARN of the group of this name or ARN, whether there is one or not."""
        if identifier.startswith("arn:"):
            return identifier
        return self._context.arn("model-package-group", identifier)

    def exists(self, arn: str) -> bool:
        return arn in self._groups
