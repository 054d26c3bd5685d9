"""The operations on model package groups."""

from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ConflictError, ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.registry.checks import check_group
from localcloud.sagemaker.registry.records import ModelPackageGroup


class ModelPackageGroups:
    """The groups and the operations on them. An identifier is a group's name or its ARN."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._groups: dict[str, ModelPackageGroup] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateModelPackageGroup."""
        check_group(request)
        arn = self.arn(request["ModelPackageGroupName"])
        with self._context.lock:
            if arn in self._groups:
                raise ValidationError(f"Model Package Group already exists: {arn}")
            self._context.tags.put(arn, tags_of(request))
            self._groups[arn] = ModelPackageGroup(arn, request, now())
        return {"ModelPackageGroupArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeModelPackageGroup."""
        return self.get(request["ModelPackageGroupName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListModelPackageGroups. No other account shares groups with this one."""
        foreign = request.get("CrossAccountFilterOption") == "CrossAccount"
        with self._context.lock:
            summaries = [] if foreign else [group.summary() for group in self._groups.values()]
        page, token = listing.page(summaries, request, kind="ModelPackageGroup", default_order="Ascending")
        return {"ModelPackageGroupSummaryList": page, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteModelPackageGroup."""
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
        """Return the group; raise ValidationError if it does not exist."""
        arn = self.arn(identifier)
        with self._context.lock:
            if arn not in self._groups:
                raise ValidationError(f"ModelPackageGroup {arn} does not exist.")
            return self._groups[arn]

    def arn(self, identifier: str) -> str:
        """Return the ARN of the group, which need not exist."""
        if identifier.startswith("arn:"):
            return identifier
        return self._context.arn("model-package-group", identifier)

    def exists(self, arn: str) -> bool:
        """Return whether a group has this ARN."""
        return arn in self._groups
