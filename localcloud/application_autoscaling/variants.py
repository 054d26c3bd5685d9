"""How a request names a variant, and how resources are filtered and paged."""

import re
from dataclasses import dataclass
from typing import Any

from localcloud.application_autoscaling.errors import InvalidNextTokenError
from localcloud.sagemaker.api import listing
from localcloud.sagemaker.core.errors import ValidationError

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"

_RESOURCE = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")


@dataclass(frozen=True)
class VariantId:
    """A production variant of an endpoint."""

    endpoint: str
    variant: str

    @property
    def resource(self) -> str:
        """The ResourceId."""
        return f"endpoint/{self.endpoint}/variant/{self.variant}"

    def members(self) -> dict[str, str]:
        """Return the members that name the variant in requests and responses."""
        return {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource,
            "ScalableDimension": DIMENSION,
        }

    def sentence(self) -> str:
        """Return the variant as AWS's error messages name it."""
        return (
            f"service namespace: {NAMESPACE}, resource ID: {self.resource}, scalable dimension: {DIMENSION}"
        )


def variant_id(request: dict[str, Any]) -> VariantId:
    """Return the variant that a request names; raise ValidationError for any other resource."""
    if (request["ServiceNamespace"], request["ScalableDimension"]) != (NAMESPACE, DIMENSION):
        raise ValidationError(
            f"The local Application Auto Scaling has the namespace {NAMESPACE} only, with the dimension "
            f"{DIMENSION}."
        )
    match = _RESOURCE.fullmatch(request["ResourceId"])
    if match is None:
        raise ValidationError("Unsupported service namespace, resource type or scalable dimension")
    return VariantId(**match.groupdict())


def matching(
    described: list[dict[str, Any]], request: dict[str, Any], wanted: list[str] | None
) -> list[dict[str, Any]]:
    """Return the descriptions with the request's namespace and dimension.

    Args:
        described: All descriptions.
        request: The Describe request.
        wanted: The ResourceIds to keep; None for all.

    Raises:
        ValidationError: The request has a dimension without resources.
    """
    if "ScalableDimension" in request and wanted is None:
        raise ValidationError("ScalableDimension selects among resources: name those as well.")
    return [
        item
        for item in described
        if item["ServiceNamespace"] == request["ServiceNamespace"]
        and (wanted is None or item["ResourceId"] in wanted)
        and item["ScalableDimension"] == request.get("ScalableDimension", item["ScalableDimension"])
    ]


def page(
    items: list[dict[str, Any]], request: dict[str, Any], *, name: str, most: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page of descriptions, oldest first, and the token of the next page.

    Args:
        items: All descriptions.
        request: The Describe request.
        name: The member that orders descriptions of the same age.
        most: The highest MaxResults, also the default.

    Raises:
        ValidationError: MaxResults is out of range.
        InvalidNextTokenError: This service has not issued the token.
    """
    size = request.get("MaxResults", most)
    if not 1 <= size <= most:
        raise ValidationError(f"MaxResults must be between 1 and {most}, not {size}.")
    paging = {"MaxResults": size} | ({"NextToken": request["NextToken"]} if "NextToken" in request else {})
    try:
        return listing.page(items, paging, kind="", default_order="Ascending", name=name)
    except ValidationError as error:
        raise InvalidNextTokenError(str(error)) from error
