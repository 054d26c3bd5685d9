"""AddTags, ListTags and DeleteTags, on any resource there is."""

from typing import Any, Protocol

from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.core.context import Context


class Owner(Protocol):
    """Something that keeps resources."""

    def exists(self, arn: str) -> bool: ...


class TagOperations:
    """The operations on the tags of the resources the owners keep."""

    def __init__(self, context: Context, *owners: Owner) -> None:
        self._context = context
        self._owners = owners

    def add(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            arn = self._known(request)
            self._context.tags.put(arn, request["Tags"])
            return {"Tags": self._context.tags.of(arn)}

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            return {"Tags": self._context.tags.of(self._known(request))}

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            self._context.tags.remove(self._known(request), request["TagKeys"])
        return {}

    def _known(self, request: dict[str, Any]) -> str:
        arn: str = request["ResourceArn"]
        if not any(owner.exists(arn) for owner in self._owners):
            raise ValidationError(f'Could not find resource "{arn}".')
        return arn
