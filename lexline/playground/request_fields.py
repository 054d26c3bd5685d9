"""The fields of a request for text, from the definition that the endpoint and the API use."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

from lexline.core import paths


@cache
def limits() -> dict[str, dict[str, Any]]:
    """Return for each field with a number which numbers it accepts, and its default or None."""
    file = paths.repository() / "model_scripts" / "request_body.py"
    spec = importlib.util.spec_from_file_location("lexline_request_body", file)
    assert spec
    assert spec.loader
    definition = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(definition)
    defaults = definition.Request()
    return {
        name: {
            "least": number.least,
            "most": number.most,
            "whole": number.whole,
            "default": getattr(defaults, name),
        }
        for name, number in definition.NUMBERS.items()
    }
