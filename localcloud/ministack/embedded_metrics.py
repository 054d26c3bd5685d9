"""Metrics in log lines: what a function logs in the embedded metric format is in CloudWatch's metrics.

That is how Powertools puts metrics. MiniStack keeps the lines and leaves it at that.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import functools
import json
import logging
from typing import Any

logger = logging.getLogger("localcloud")


def mend() -> None:
    """Take the metrics out of every line that reaches a log."""
    from ministack.services import cloudwatch_logs as logs

    append = logs._append_log_events

    @functools.wraps(append)
    def appending(stream: dict[str, Any], new_events: list[dict[str, Any]]) -> None:
        append(stream, new_events)
        for event in new_events:
            if '"CloudWatchMetrics"' in event["message"]:
                _extract(event["message"])

    logs._append_log_events = appending


def _extract(line: str) -> None:
    """Put a line's metrics. One that is not of the format is a log line and nothing else."""
    from ministack.services import cloudwatch

    try:
        document = json.loads(line)
        about = document["_aws"]
        seconds = about["Timestamp"] / 1000
        for directive in about["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = {name: document[name] for name in names}
                for metric in directive["Metrics"]:
                    value = document[metric["Name"]]
                    values = value if isinstance(value, list) else [value]
                    cloudwatch._store_datum(
                        directive["Namespace"],
                        metric["Name"],
                        dimensions,
                        seconds,
                        metric.get("Unit", "None"),
                        None,
                        values,
                        None,
                        None,
                    )
    except (LookupError, TypeError, ValueError) as error:
        logger.warning("A log line has no metrics, though it says so: %r", error)
