"""The operations on model packages: register a version, approve it, find it."""

from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.errors import ConflictError
from localcloud.sagemaker.core.resources import Resources
from localcloud.sagemaker.registry.checks import check_change, check_metadata, check_package
from localcloud.sagemaker.registry.model_package_groups import ModelPackageGroups
from localcloud.sagemaker.registry.records import ModelPackage, ModelPackageGroup


class ModelPackages(Resources[ModelPackage]):
    """The packages and the operations on them. An identifier is an ARN or GROUP/VERSION."""

    kind = "model-package"
    missing = "ModelPackage {arn} does not exist."

    def __init__(self, context: Context, groups: ModelPackageGroups) -> None:
        super().__init__(context)
        self._groups = groups

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateModelPackage. A repeated request with the same ClientToken returns the same ARN."""
        check_package(request)
        with self._context.lock:
            group = self._groups.get(request["ModelPackageGroupName"])
            package = self._created_with_token(request)
            if package is None:
                package = self._add(group, request)
                self._context.announcer.model_package(package.describe())
        return {"ModelPackageArn": package.arn}

    def resources_of_create(self, request: dict[str, Any]) -> list[str]:
        """Return the ARNs that CreateModelPackage is authorized on: the new version and its group."""
        identifier = request.get("ModelPackageGroupName")
        if identifier is None:
            return [self.arn(request.get("ModelPackageName", "*"))]
        group = self._groups.arn(identifier)
        with self._context.lock:
            version = self._groups.get(group).last_version + 1 if self._groups.exists(group) else 1
        return [self.arn(f"{group.rsplit('/', 1)[1]}/{version}"), group]

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeModelPackage. IncludedData has no effect: it concerns model cards."""
        with self._context.lock:
            return self.get(request["ModelPackageName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListModelPackages.

        Without a group, versions are listed only if ModelPackageType is Versioned or Both: AWS then lists
        unversioned packages by default. A group that does not exist has no packages.
        """
        with self._context.lock:
            summaries = [
                package.summary() for package in self._records.values() if self._matches(package, request)
            ]
        page, token = listing.page(
            summaries,
            request,
            kind="ModelPackage",
            default_order="Ascending",
            name="ModelPackageGroupName",
            then="ModelPackageVersion",
        )
        return {"ModelPackageSummaryList": page, "NextToken": token}

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle UpdateModelPackage. ClientToken has no effect: updates are idempotent."""
        check_change(request)
        with self._context.lock:
            package = self.get(request["ModelPackageArn"])
            metadata = package.metadata | request.get("CustomerMetadataProperties", {})
            for key in request.get("CustomerMetadataPropertiesToRemove", []):
                metadata.pop(key, None)
            check_metadata(package.arn, metadata)
            self._change(package, request, metadata)
        return {"ModelPackageArn": package.arn}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteModelPackage. Models created from the package stay."""
        with self._context.lock:
            package = self.get(request["ModelPackageName"])
            self._drop(package.arn)
            package.group.versions.remove(package.version)

    def _created_with_token(self, request: dict[str, Any]) -> ModelPackage | None:
        token = request.get("ClientToken")
        if token is None:
            return None
        for package in self._records.values():
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
        self._records[arn] = package
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

    def _matches(self, package: ModelPackage, request: dict[str, Any]) -> bool:
        if request.get("ModelApprovalStatus", package.approval) != package.approval:
            return False
        if "ModelPackageGroupName" in request:
            return package.group.arn == self._groups.arn(request["ModelPackageGroupName"])
        return request.get("ModelPackageType") in ("Versioned", "Both")
