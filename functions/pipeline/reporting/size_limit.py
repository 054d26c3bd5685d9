"""The size limit of a report: it is the output of a state, which has at most 262,144 bytes."""

import json
from typing import Any

from contracts.report import Report
from core.text import cut

# Below the limit, because Lambda's response adds some headers.
_LARGEST_REPORT = 240_000
_LONGEST_TEXTS, _MOST_TEXTS = (4000, 1000, 250), 20
# Fields that people, AWS or scripts of any origin wrote. Contracts limit all other fields.
_FREE_TEXTS = {"headline", "reason", "notes", "message", "cleanup", "prompt", "text"}


def fitted(report: Report) -> Report:
    """Return the report with its texts cut until it fits into the output of a state."""
    document: dict[str, Any] = {}
    for longest in _LONGEST_TEXTS:
        document = _shortened(report.model_dump(mode="json"), longest)
        # Lambda may escape what is not ASCII, so the measure is escaped JSON.
        if len(json.dumps(document)) <= _LARGEST_REPORT:
            break
    return Report.model_validate(document)


def _shortened(value: Any, longest: int, *, free: bool = False) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(each, longest, free=name in _FREE_TEXTS) for name, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each, longest, free=free) for each in value[: _MOST_TEXTS if free else None]]
    return cut(value, longest) if free and isinstance(value, str) else value
