"""The collection of one kind of resource, which every kind's operations build on."""

from typing import Any, ClassVar, Generic, Protocol, TypeVar

from localcloud.sagemaker.core.context import Context
from localcloud.sagemaker.core.errors import ValidationError


class Record(Protocol):
    """One resource."""

    @property
    def arn(self) -> str:
        """The resource's ARN."""

    def summary(self) -> dict[str, Any]:
        """Return the resource's entry in a List operation."""


R = TypeVar("R", bound=Record)


class Resources(Generic[R]):
    """The resources of one kind by their ARNs. Names are not case-sensitive.

    kind: the resource type in ARNs.
    missing: AWS's message about a resource that does not exist; {arn} stands for its ARN.
    """

    kind: ClassVar[str]
    missing: ClassVar[str]

    def __init__(self, context: Context) -> None:
        self._context = context
        self._records: dict[str, R] = {}

    def arn(self, identifier: str) -> str:
        """Return the ARN of the resource with this name or ARN, which need not exist."""
        return identifier if identifier.startswith("arn:") else self._context.arn(self.kind, identifier)

    def exists(self, arn: str) -> bool:
        """Return whether a resource has this ARN."""
        return arn in self._records

    def get(self, identifier: str) -> R:
        """Return the resource; raise ValidationError if it does not exist."""
        arn = self.arn(identifier)
        with self._context.lock:
            if arn not in self._records:
                raise ValidationError(self.missing.format(arn=arn))
            return self._records[arn]

    def _summaries(self) -> list[dict[str, Any]]:
        with self._context.lock:
            return [record.summary() for record in self._records.values()]

    def _drop(self, identifier: str) -> None:
        """Delete a resource and its tags."""
        with self._context.lock:
            arn = self.get(identifier).arn
            del self._records[arn]
            self._context.tags.drop(arn)
