"""Reads values out of documents that may lack anything: what is not there, or not of its kind, is empty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """An object's fields."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """A list's elements."""
    return list(value) if isinstance(value, list | tuple) else []


def text(value: object) -> str:
    """A string or number as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value)


def number(value: object) -> float | None:
    """A number; infinity and NaN are strings in JSON (contracts.py)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def finite(value: object) -> float | None:
    """A number that can be drawn and counted with."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None
