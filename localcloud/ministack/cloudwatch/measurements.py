"""Writing CloudWatch metrics from inside the local cloud.

AWS: SageMaker publishes an endpoint's metrics once a minute, and they come a minute or two late.
https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
Here: each measurement comes late by the same time, with the time at which it was measured. That is 120
seconds, or the environment variable SAGEMAKER_METRIC_DELAY_SECONDS, scaled like every wait.
"""

import contextvars
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from localcloud.sagemaker.core.host import Measurement

_log = logging.getLogger(__name__)


def delay_seconds() -> float:
    """Return how late measurements come, unscaled."""
    return float(os.environ.get("SAGEMAKER_METRIC_DELAY_SECONDS", "120"))


class Measurements:
    """The metrics that the added services put. Thread-safe."""

    def __init__(self, delay: float) -> None:
        """Create the store. Measurements come `delay` seconds late."""
        from ministack.services import cloudwatch

        self.delay = delay
        self._cloudwatch = cloudwatch
        self._lock = threading.Lock()
        self._minute = 0
        self._points: dict[tuple[str, str, str, float], dict[str, Any]] = {}
        self._late: queue.SimpleQueue[tuple[float, Callable[[], None]]] = queue.SimpleQueue()
        threading.Thread(target=self._add_late_ones, name="late-metrics", daemon=True).start()

    def put(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        """Add measurements of the current time when their delay is over, and then evaluate the alarms."""
        now = time.time()
        if self.delay:
            # MiniStack finds the region in the context.
            context = contextvars.copy_context()
            self._late.put((now + self.delay, lambda: context.run(self._add, namespace, measurements, now)))
        else:
            self._add(namespace, measurements, now)

    def _add_late_ones(self) -> None:
        while True:
            due, add = self._late.get()
            time.sleep(max(0.0, due - time.time()))
            try:
                add()
            except Exception:  # One failure must not stop all later metrics.
                _log.exception("Late metrics could not be added")

    def _add(self, namespace: str, measurements: Sequence[Measurement], measured: float) -> None:
        """Add measurements, and evaluate the alarms.

        Each value is one data point a minute, with a count of how often it was measured. SageMaker's metrics
        have this resolution. With one data point each, a busy endpoint would fill the memory.
        """
        with self._lock:
            minute = int(measured // 60)
            if minute != self._minute:
                self._minute, self._points = minute, {}
            for measurement in measurements:
                for value, count in measurement.values.items():
                    self._count(namespace, measurement, value, count, measured)
        self._cloudwatch._evaluate_all_alarms()

    def _count(
        self, namespace: str, measurement: Measurement, value: float, count: int, measured: float
    ) -> None:
        dimensions = dict(measurement.dimensions)
        series = (namespace, measurement.metric, self._cloudwatch._dims_key(dimensions))
        point = self._points.setdefault(
            (*series, value),
            {"Value": value, "Count": 0.0, "Unit": measurement.unit, "Dimensions": dimensions},
        )
        point["Timestamp"] = measured
        point["Count"] += count
        # MiniStack replaces its lists at each request. The point may be in a list that was replaced.
        points = self._cloudwatch._metric_bucket(series)
        if not any(other is point for other in reversed(points)):
            points.append(point)
