"""Metrics in log lines.

AWS: CloudWatch reads the metrics in log lines of the embedded metric format, which Powertools writes.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
MiniStack: it stores these lines and does not read the metrics.
Here: the metrics of each line that is added to a log are put into CloudWatch.
"""

import functools
import json
import logging
from typing import Any

logger = logging.getLogger("localcloud")


def patch() -> None:
    """Patch MiniStack's logs: read the metrics from every line that is added."""
    from ministack.services import cloudwatch_logs as logs

    append = logs._append_log_events

    @functools.wraps(append)
    def append_and_read_metrics(stream: dict[str, Any], new_events: list[dict[str, Any]]) -> None:
        append(stream, new_events)
        for event in new_events:
            if '"CloudWatchMetrics"' in event["message"]:
                _put_metrics(event["message"])

    logs._append_log_events = append_and_read_metrics


def _put_metrics(line: str) -> None:
    """Put a line's metrics, or log a warning if the line does not follow the format."""
    from ministack.services import cloudwatch

    try:
        document = json.loads(line)
        metadata = document["_aws"]
        seconds = metadata["Timestamp"] / 1000
        for directive in metadata["CloudWatchMetrics"]:
            namespace = directive["Namespace"]
            for names in directive["Dimensions"]:
                dimensions = {name: document[name] for name in names}
                for metric in directive["Metrics"]:
                    value = document[metric["Name"]]
                    values = value if isinstance(value, list) else [value]
                    unit = metric.get("Unit", "None")
                    cloudwatch._store_datum(
                        namespace, metric["Name"], dimensions, seconds, unit, None, values, None, None
                    )
    except (LookupError, TypeError, ValueError) as error:
        logger.warning(
            "A log line in the embedded metric format is invalid, so its metrics are lost: %r", error
        )
