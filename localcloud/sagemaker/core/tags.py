"""The tags of all resources, and the operations on them: AddTags, ListTags and DeleteTags."""

import threading
from typing import Any, Protocol

from localcloud.sagemaker.core.errors import ResourceLimitError, ValidationError

MAX_TAGS = 50
"""Tags of a resource: SageMaker's quota."""


class TagStore:
    """Tags by the resource's ARN."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}

    def put(self, arn: str, tags: list[dict[str, str]]) -> None:
        """Add tags; overwrite tags with the same key.

        Raises:
            ValidationError: A key is repeated or starts with aws:.
            ResourceLimitError: The resource would have more than 50 tags.
        """
        keys = [tag["Key"] for tag in tags]
        if len(set(keys)) < len(keys):
            raise ValidationError("Duplicate tag keys found. Please note that Tag keys are case sensitive.")
        for key in keys:
            if key.lower().startswith("aws:"):
                raise ValidationError("aws: prefixed tag key names are not allowed for external use.")
        merged = self._tags.get(arn, {}) | {tag["Key"]: tag["Value"] for tag in tags}
        if len(merged) > MAX_TAGS:
            raise ResourceLimitError(f"The number of tags on {arn} would exceed the limit of {MAX_TAGS}.")
        if merged:
            self._tags[arn] = merged

    def of(self, arn: str) -> list[dict[str, str]]:
        """Return the resource's tags as the API lists them."""
        return [{"Key": key, "Value": value} for key, value in self._tags.get(arn, {}).items()]

    def all(self) -> list[tuple[str, list[dict[str, str]]]]:
        """Return the ARN of each resource that has tags, with its tags."""
        return [(arn, self.of(arn)) for arn in list(self._tags)]

    def mapping(self, arn: str) -> dict[str, str]:
        """Return the resource's tags as its events contain them."""
        return dict(self._tags.get(arn, {}))

    def remove(self, arn: str, keys: list[str]) -> None:
        """Remove tags; ignore keys that the resource does not have."""
        for key in keys:
            self._tags.get(arn, {}).pop(key, None)

    def drop(self, arn: str) -> None:
        """Remove all tags of a deleted resource."""
        self._tags.pop(arn, None)


def tags_of(request: dict[str, Any]) -> list[dict[str, str]]:
    """Return the tags of a create request."""
    tags: list[dict[str, str]] = request.get("Tags", [])
    return tags


class Owner(Protocol):
    """The collection of one kind of resource."""

    def exists(self, arn: str) -> bool:
        """Return whether a resource has this ARN."""


class TagOperations:
    """The operations on the tags of the owners' resources."""

    def __init__(self, lock: threading.RLock, tags: TagStore, *owners: Owner) -> None:
        self._lock = lock
        self._tags = tags
        self._owners = owners

    def add(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle AddTags."""
        with self._lock:
            arn = self._arn(request)
            self._tags.put(arn, request["Tags"])
            return {"Tags": self._tags.of(arn)}

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListTags."""
        with self._lock:
            return {"Tags": self._tags.of(self._arn(request))}

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DeleteTags."""
        with self._lock:
            self._tags.remove(self._arn(request), request["TagKeys"])
        return {}

    def _arn(self, request: dict[str, Any]) -> str:
        arn: str = request["ResourceArn"]
        if not any(owner.exists(arn) for owner in self._owners):
            raise ValidationError(f'Could not find resource "{arn}".')
        return arn
