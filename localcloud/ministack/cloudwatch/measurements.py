"""Writing CloudWatch metrics from inside the local cloud."""

import threading
import time
from collections.abc import Sequence
from typing import Any

from localcloud.sagemaker.core.host import Measurement


class Measurements:
    """The metrics that the added services put. Thread-safe."""

    def __init__(self) -> None:
        from ministack.services import cloudwatch

        self._cloudwatch = cloudwatch
        self._lock = threading.Lock()
        self._minute = 0
        self._points: dict[tuple[str, str, str, float], dict[str, Any]] = {}

    def put(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        """Add measurements with the current time, and evaluate the alarms.

        Each value is one data point a minute, with a count of how often it was measured. SageMaker's metrics
        have this resolution. With one data point each, a busy endpoint would fill the memory.
        """
        now = time.time()
        with self._lock:
            minute = int(now // 60)
            if minute != self._minute:
                self._minute, self._points = minute, {}
            for measurement in measurements:
                for value, count in measurement.values.items():
                    self._count(namespace, measurement, value, count, now)
        self._cloudwatch._evaluate_all_alarms()

    def _count(self, namespace: str, measurement: Measurement, value: float, count: int, now: float) -> None:
        dimensions = dict(measurement.dimensions)
        series = (namespace, measurement.metric, self._cloudwatch._dims_key(dimensions))
        point = self._points.setdefault(
            (*series, value),
            {"Value": value, "Count": 0.0, "Unit": measurement.unit, "Dimensions": dimensions},
        )
        point["Timestamp"] = now
        point["Count"] += count
        # MiniStack replaces its lists at each request. The point may be in a list that was replaced.
        points = self._cloudwatch._metric_bucket(series)
        if not any(other is point for other in reversed(points)):
            points.append(point)
