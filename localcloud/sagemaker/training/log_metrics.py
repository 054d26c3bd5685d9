"""Metrics read from a training job's log by its MetricDefinitions."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from localcloud.sagemaker.api.errors import ValidationError


class Metrics:
    """The latest value of every metric a job has logged.

    A definition's regular expression is searched for in each line; its first group is the value. As
    CloudWatch stores neither NaN nor infinities, such a value is no data point: the last finite one stays.
    """

    def __init__(self, definitions: list[dict[str, str]]) -> None:
        self._patterns = {item["Name"]: _compiled(item["Regex"]) for item in definitions}
        if len(self._patterns) < len(definitions):
            raise ValidationError("Metric definition names must be unique.")
        self._latest: dict[str, tuple[float, datetime]] = {}

    def read(self, line: str, timestamp_ms: int) -> None:
        """Look at one line of the log."""
        for name, pattern in self._patterns.items():
            for match in pattern.finditer(line):
                value = _number(match)
                if value is not None:
                    self._latest[name] = (value, datetime.fromtimestamp(timestamp_ms / 1000, UTC))

    def final(self) -> list[dict[str, Any]]:
        """FinalMetricDataList."""
        return [
            {"MetricName": name, "Value": value, "Timestamp": timestamp}
            for name, (value, timestamp) in self._latest.items()
        ]


def _compiled(regex: str) -> re.Pattern[str]:
    try:
        return re.compile(regex)
    except re.error as error:
        raise ValidationError(f"Invalid metric definition regex '{regex}': {error}.") from error


def _number(match: re.Match[str]) -> float | None:
    if not match.re.groups:
        return None
    try:
        value = float(match[1] or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
