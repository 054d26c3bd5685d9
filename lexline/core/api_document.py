"""The OpenAPI document of the HTTP API, which scripts/write_openapi.py writes beside this package's code."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parent.parent / "openapi.json"


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def field(request: str, name: str) -> dict[str, Any]:
    """Return the schema of a field of a request, for example of "Generate"."""
    found: dict[str, Any] = document()["components"]["schemas"][request]["properties"][name]
    return found


def longest_text() -> int:
    """Return the number of characters that one request may score."""
    length: int = field("Score", "text")["maxLength"]
    return length
