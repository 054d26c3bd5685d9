"""Filters, order and pages, the same for every List operation."""

import base64
import binascii
import json
from datetime import datetime
from typing import Any

from localcloud.sagemaker.core.errors import ValidationError

PAGE = 10
"""Results on a page if the request has no MaxResults."""


def page(
    items: list[dict[str, Any]],
    request: dict[str, Any],
    *,
    kind: str,
    default_order: str,
    name: str | None = None,
    then: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page of summaries and the token of the next page.

    The token stores the position of the page's last item in the order. Resources that are created or deleted
    between two requests therefore neither repeat nor hide others.

    Args:
        items: All summaries.
        request: The List request.
        kind: The prefix of the summaries' members, e.g. "TrainingJob" for TrainingJobName.
        default_order: "Ascending" or "Descending".
        name: The member with the name, if it is not `kind` followed by "Name".
        then: An integer member that orders summaries with the same name.

    Raises:
        ValidationError: This service has not issued the token.
    """
    name = name or f"{kind}Name"
    first = {"Name": name, "Status": f"{kind}Status"}.get(request.get("SortBy", ""), "CreationTime")
    descending = request.get("SortOrder", default_order) == "Descending"

    def position(item: dict[str, Any]) -> list[str]:
        return [_sortable(item[member]) for member in (first, name, then) if member]

    chosen = [item for item in items if _matches(item, request, kind, name)]
    chosen.sort(key=position, reverse=descending)
    token = request.get("NextToken")
    if token is not None:
        end = _decoded(token, 3 if then else 2)
        chosen = [item for item in chosen if (position(item) < end if descending else position(item) > end)]
    size = request.get("MaxResults", PAGE)
    shown = chosen[:size]
    return shown, _encoded(position(shown[-1])) if len(chosen) > size else None


def _matches(item: dict[str, Any], request: dict[str, Any], kind: str, name: str) -> bool:
    if request.get("NameContains", "").lower() not in item[name].lower():
        return False
    if "StatusEquals" in request and item[f"{kind}Status"] != request["StatusEquals"]:
        return False
    for moment in ("CreationTime", "LastModifiedTime"):
        value: datetime | None = item.get(moment)
        if value is None:
            continue
        if f"{moment}After" in request and value <= request[f"{moment}After"]:
            return False
        if f"{moment}Before" in request and value >= request[f"{moment}Before"]:
            return False
    return True


def _sortable(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return f"{value:010}" if isinstance(value, int) else str(value)


def _encoded(position: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decoded(token: str, parts: int) -> list[str]:
    try:
        position = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError) as error:
        raise ValidationError("Invalid NextToken.") from error
    if not isinstance(position, list) or [type(part) for part in position] != [str] * parts:
        raise ValidationError("Invalid NextToken.")
    return position
