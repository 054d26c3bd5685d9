"""The fields of a request for text, from the definition that the endpoint and the API use."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from functools import cache
from typing import Any

from lexline.core import paths


@cache
def fields() -> dict[str, dict[str, Any]]:
    """Return for each field its kind (such as Number), the limits, what it does, and its default."""
    file = paths.repository() / "model_scripts" / "request_body.py"
    spec = importlib.util.spec_from_file_location("lexline_request_body", file)
    assert spec
    assert spec.loader
    definition = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(definition)
    defaults = asdict(definition.Request())
    return {
        name: {
            "kind": type(field.kind).__name__,
            **asdict(field.kind),
            "about": field.about,
            "default": defaults[name],
        }
        for name, field in definition.GENERATE.items()
    }
