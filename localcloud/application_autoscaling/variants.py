"""How a request says which variant it is about, and how resources are listed."""

import re
from dataclasses import dataclass
from typing import Any

from localcloud.application_autoscaling.errors import InvalidNextTokenError
from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ValidationError

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
        """The three members that name the variant in requests and descriptions."""
        return {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource,
            "ScalableDimension": DIMENSION,
        }

    def sentence(self) -> str:
        """The three members as AWS's errors name them."""
        return (
            f"service namespace: {NAMESPACE}, resource ID: {self.resource}, scalable dimension: {DIMENSION}"
        )


def variant_id(request: dict[str, Any]) -> VariantId:
    """The variant a request names; raises ValidationError for anything else that AWS can scale."""
    if (request["ServiceNamespace"], request["ScalableDimension"]) != (NAMESPACE, DIMENSION):
        raise ValidationError(
            f"The local Application Auto Scaling has the namespace {NAMESPACE} only, with the dimension "
            f"{DIMENSION}."
        )
    match = _RESOURCE.fullmatch(request["ResourceId"])
    if match is None:
        raise ValidationError("Unsupported service namespace, resource type or scalable dimension")
    return VariantId(**match.groupdict())


def chosen(
    described: list[dict[str, Any]], request: dict[str, Any], wanted: list[str] | None
) -> list[dict[str, Any]]:
    """Those of the request's namespace, of the `wanted` resources unless it is None, and of its dimension.

    Raises ValidationError for a dimension without resources.
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
    """One page of descriptions, oldest first and by the member `name` among equals, and the next one's token.

    Raises ValidationError when MaxResults is beyond `most`, InvalidNextTokenError for an unknown token.
    """
    size = request.get("MaxResults", most)
    if not 1 <= size <= most:
        raise ValidationError(f"MaxResults must be between 1 and {most}, not {size}.")
    asked = {"MaxResults": size} | ({"NextToken": request["NextToken"]} if "NextToken" in request else {})
    try:
        return listing.page(items, asked, kind="", default_order="Ascending", name=name)
    except ValidationError as error:
        raise InvalidNextTokenError(str(error)) from error
