"""CloudWatch: what services here measure, and alarms that are evaluated as on AWS.

To MiniStack an alarm's dimensions and missing data mean nothing, its periods are one, and it is looked at
only when some metric is put. On AWS it sees the metric with exactly its dimensions, M of its last N periods
must breach, TreatMissingData says what the empty ones are, and time alone can change its state.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

import functools
import operator
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.ministack.roles import role_denial
from localcloud.ministack.settings import ACCOUNT, REGION
from localcloud.sagemaker.host import AccessDenied, Measurement

RESOLUTION = 10
"""Seconds that one data point stands for; a busy endpoint would otherwise fill the memory."""
HELD = 60.0
"""Seconds for which ALARM, set by SetAlarmState, stays: CloudWatch evaluates an alarm every minute."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanOrEqualToThreshold": operator.le,
    "LessThanThreshold": operator.lt,
}


class CloudWatch:
    """The metrics and alarms, for the services of this cloud. May be used from any thread."""

    def __init__(self) -> None:
        from ministack.services import cloudwatch

        self._cloudwatch = cloudwatch
        self._lock = threading.Lock()
        self._slot = 0
        self._points: dict[tuple[str, str, str, float], dict[str, Any]] = {}

    def put(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        """Add measurements of this moment, and evaluate the alarms."""
        with self._lock:
            slot = int(time.time()) // RESOLUTION * RESOLUTION
            if slot != self._slot:
                self._slot, self._points = slot, {}
            for measurement in measurements:
                for value, count in measurement.values.items():
                    self._count(namespace, measurement, value, count)
        self._cloudwatch._evaluate_all_alarms()

    def alarm_states(self, names: Sequence[str], role_arn: str) -> Mapping[str, str]:
        """The states of those of the alarms that there are; see `localcloud.sagemaker.host.Host`."""
        for name in names:
            arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
            if denial := role_denial(role_arn, "SageMaker", "cloudwatch:DescribeAlarms", arn):
                raise AccessDenied(denial)
        self._cloudwatch._evaluate_all_alarms()
        alarms = [
            self._cloudwatch._alarms.get(name) or self._cloudwatch._composite_alarms.get(name)
            for name in names
        ]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms if alarm}

    def _count(self, namespace: str, measurement: Measurement, value: float, count: int) -> None:
        dimensions = dict(measurement.dimensions)
        series = (namespace, measurement.metric, self._cloudwatch._dims_key(dimensions))
        point = self._points.get((*series, value))
        if point is not None:
            point["Count"] += count
            return
        point = self._points[(*series, value)] = {
            "Timestamp": float(self._slot),
            "Value": value,
            "Count": float(count),
            "Unit": measurement.unit,
            "Dimensions": dimensions,
        }
        self._cloudwatch._metric_bucket(series).append(point)


def mend() -> None:
    """Evaluate alarms as on AWS, and whenever they are asked for."""
    from ministack.services import cloudwatch

    evaluate, describe = cloudwatch._evaluate_alarm, cloudwatch._describe_alarms
    set_state, evict = cloudwatch._set_alarm_state, cloudwatch._evict_old_metrics
    lock = threading.RLock()
    held: dict[str, float] = {}

    @functools.wraps(evaluate)
    def evaluating(alarm: dict[str, Any]) -> None:
        if not alarm.get("MetricName") or alarm.get("ComparisonOperator") not in _COMPARE:
            evaluate(alarm)
            return
        now = time.time()
        with lock:
            old = alarm["StateValue"]
            if old == "ALARM" and now < held.get(alarm["AlarmName"], 0.0):
                return
            values = _values(alarm, now)
            new = _state(alarm, values) or old
            if new == old:
                return
            seen = ", ".join("missing" if value is None else f"{value:g}" for value in values)
            reason = f"{alarm['ComparisonOperator']} {alarm['Threshold']:g}; the latest periods: {seen}."
            alarm |= {"StateValue": new, "StateReason": reason, "StateUpdatedTimestamp": int(now)}
            cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
            cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
            cloudwatch._evaluate_parent_alarms(alarm)

    @functools.wraps(describe)
    def describing(*args: Any, **kwargs: Any) -> Any:
        cloudwatch._evaluate_all_alarms()
        return describe(*args, **kwargs)

    @functools.wraps(set_state)
    def setting(params: dict[str, Any], cbor_data: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        held[cbor_data.get("AlarmName") or cloudwatch._p(params, "AlarmName")] = time.time() + HELD
        return set_state(params, cbor_data, *args, **kwargs)

    @functools.wraps(evict)
    def evicting() -> None:
        # It makes every list of points anew, at each request: what another thread appends meanwhile is lost.
        oldest = time.time() - cloudwatch.TWO_WEEKS_SECONDS
        if any(points[0]["Timestamp"] < oldest for points in cloudwatch._metrics.values() if points):
            evict()

    cloudwatch._evaluate_alarm = evaluating
    cloudwatch._describe_alarms = describing
    cloudwatch._set_alarm_state = setting
    cloudwatch._evict_old_metrics = evicting


def _values(alarm: Mapping[str, Any], now: float) -> list[float | None]:
    """The statistic of each of the alarm's periods, the latest first; None for one without data."""
    from ministack.services import cloudwatch

    dimensions = cloudwatch._dims_from_list(alarm.get("Dimensions") or [])
    series = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
    periods: list[list[dict[str, Any]]] = [[] for _ in range(alarm["EvaluationPeriods"])]
    for point in list(cloudwatch._metrics.get(series, ())):
        age = int((now - point["Timestamp"]) // alarm["Period"])
        if 0 <= age < len(periods) and alarm.get("Unit") in (None, point["Unit"]):
            periods[age].append(point)
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    return [
        cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points) if points else None
        for points in periods
    ]


def _state(alarm: Mapping[str, Any], values: Sequence[float | None]) -> str | None:
    """The state that the periods put the alarm in; None when they leave it in the one it is in."""
    breaches = _COMPARE[alarm["ComparisonOperator"]]
    known = [breaches(value, alarm["Threshold"]) for value in values if value is not None]
    missing, treatment = len(values) - len(known), alarm.get("TreatMissingData") or "missing"
    if treatment in ("breaching", "notBreaching"):
        known += [treatment == "breaching"] * missing
        missing = 0
    needed = alarm.get("DatapointsToAlarm") or len(values)
    if not known:
        return None if treatment == "ignore" else "INSUFFICIENT_DATA"
    if sum(known) >= (min(needed, len(known)) if treatment == "missing" else needed):
        return "ALARM"
    if treatment == "ignore" and sum(known) + missing >= needed:
        return None
    return "OK"
