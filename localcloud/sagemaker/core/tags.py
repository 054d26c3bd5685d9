"""Tags on resources, by ARN."""

from typing import Any

from localcloud.sagemaker.api.errors import ResourceLimitError, ValidationError

MAX_TAGS = 50  # per resource: SageMaker's quota


class TagStore:
    """The tags of every resource that has some."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}

    def put(self, arn: str, tags: list[dict[str, str]]) -> None:
        """Add tags, overwriting those of the same key.

        Raises ValidationError for a repeated key or one of AWS's own, ResourceLimitError beyond 50.
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
        """The resource's tags as the API lists them."""
        return [{"Key": key, "Value": value} for key, value in self._tags.get(arn, {}).items()]

    def mapping(self, arn: str) -> dict[str, str]:
        """The resource's tags as its events carry them."""
        return dict(self._tags.get(arn, {}))

    def remove(self, arn: str, keys: list[str]) -> None:
        """Take tags off; keys the resource does not have are no error."""
        for key in keys:
            self._tags.get(arn, {}).pop(key, None)

    def drop(self, arn: str) -> None:
        """Forget a deleted resource's tags."""
        self._tags.pop(arn, None)


def tags_of(request: dict[str, Any]) -> list[dict[str, str]]:
    """The tags a create request carries."""
    tags: list[dict[str, str]] = request.get("Tags", [])
    return tags
