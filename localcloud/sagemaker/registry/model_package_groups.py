"""The operations on model package groups."""

from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.core.errors import ConflictError, ValidationError
from localcloud.sagemaker.core.resources import Resources
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.registry.checks import check_group
from localcloud.sagemaker.registry.records import ModelPackageGroup


class ModelPackageGroups(Resources[ModelPackageGroup]):
    """The groups and the operations on them. An identifier is a group's name or its ARN."""

    kind = "model-package-group"
    missing = "ModelPackageGroup {arn} does not exist."

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateModelPackageGroup."""
        check_group(request)
        arn = self.arn(request["ModelPackageGroupName"])
        with self._context.lock:
            if arn in self._records:
                raise ValidationError(f"Model Package Group already exists: {arn}")
            self._context.tags.put(arn, tags_of(request))
            self._records[arn] = ModelPackageGroup(arn, request, now())
        return {"ModelPackageGroupArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeModelPackageGroup."""
        return self.get(request["ModelPackageGroupName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListModelPackageGroups. No other account shares groups with this one."""
        foreign = request.get("CrossAccountFilterOption") == "CrossAccount"
        summaries = [] if foreign else self._summaries()
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
            self._drop(group.arn)
