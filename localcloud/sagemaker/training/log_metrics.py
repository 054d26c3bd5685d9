"""Metrics that SageMaker reads from a training job's log, by the job's MetricDefinitions."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from localcloud.sagemaker.core.errors import ValidationError


class LogMetrics:
    """The latest value of each metric.

    SageMaker searches each line for a definition's regular expression; the first group is the value.
    CloudWatch stores neither NaN nor infinities, so they are skipped and the last finite value stays.
    """

    def __init__(self, definitions: list[dict[str, str]]) -> None:
        self._patterns = {item["Name"]: _compiled(item["Regex"]) for item in definitions}
        if len(self._patterns) < len(definitions):
            raise ValidationError("Metric definition names must be unique.")
        self._latest: dict[str, tuple[float, datetime]] = {}

    def read(self, line: str, timestamp_ms: int) -> None:
        """Read the metrics of one log line."""
        for name, pattern in self._patterns.items():
            for match in pattern.finditer(line):
                value = _number(match)
                if value is not None:
                    self._latest[name] = (value, datetime.fromtimestamp(timestamp_ms / 1000, UTC))

    def final(self) -> list[dict[str, Any]]:
        """Return the metrics as DescribeTrainingJob's FinalMetricDataList."""
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
