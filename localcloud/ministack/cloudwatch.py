"""CloudWatch for the services added here: they put what they measure, and ask for the states of alarms."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.ministack.roles import role_denial
from localcloud.ministack.settings import ACCOUNT, REGION
from localcloud.sagemaker.host import AccessDenied, Measurement


class CloudWatch:
    """MiniStack's CloudWatch. May be used from any thread."""

    def __init__(self) -> None:
        from ministack.services import cloudwatch

        self._cloudwatch = cloudwatch
        self._lock = threading.Lock()
        self._minute = 0
        self._points: dict[tuple[str, str, str, float], dict[str, Any]] = {}

    def put(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        """Add measurements of this moment, and evaluate the alarms.

        Each value is one data point a minute, which counts how often it was seen: SageMaker's metrics have
        that resolution, and a busy endpoint would otherwise fill the memory.
        """
        moment = time.time()
        with self._lock:
            minute = int(moment // 60)
            if minute != self._minute:
                self._minute, self._points = minute, {}
            for measurement in measurements:
                for value, count in measurement.values.items():
                    self._count(namespace, measurement, value, count, moment)
        self._cloudwatch._evaluate_all_alarms()

    def alarm_states(self, names: Sequence[str], role_arn: str) -> Mapping[str, str]:
        """The states of those of the alarms that there are; see `localcloud.sagemaker.host.Host`."""
        for name in names:
            arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
            if denial := role_denial(role_arn, "SageMaker", "cloudwatch:DescribeAlarms", arn):
                raise AccessDenied(denial)
        found = {
            name: self._cloudwatch._alarms.get(name) or self._cloudwatch._composite_alarms.get(name)
            for name in names
        }
        return {name: alarm["StateValue"] for name, alarm in found.items() if alarm}

    def _count(
        self, namespace: str, measurement: Measurement, value: float, count: int, moment: float
    ) -> None:
        dimensions = dict(measurement.dimensions)
        series = (namespace, measurement.metric, self._cloudwatch._dims_key(dimensions))
        point = self._points.setdefault(
            (*series, value),
            {"Value": value, "Count": 0.0, "Unit": measurement.unit, "Dimensions": dimensions},
        )
        point["Timestamp"] = moment
        point["Count"] += count
        # MiniStack makes its lists anew at each request: the point may have come to one as it was replaced.
        points = self._cloudwatch._metric_bucket(series)
        if not any(each is point for each in reversed(points)):
            points.append(point)
