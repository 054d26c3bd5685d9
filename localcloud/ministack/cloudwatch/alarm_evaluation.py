"""The state of an alarm.

AWS: an alarm watches the metric with exactly its dimensions. It is in ALARM if DatapointsToAlarm of the last
EvaluationPeriods breach. Metrics come late, so an alarm looks further back, and judges the newest periods
with data. TreatMissingData says how a period without data counts if there are fewer.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
MiniStack: an alarm watches every metric of its name as one, and all periods as one. It is evaluated only when
data is put.
Here: alarms are evaluated as on AWS, when data is put and once a second. The current period counts as soon as
it has data, so that nobody waits a minute for an alarm. Without new data a state stays for ten seconds, even
a state that SetAlarmState set. Metric math is not supported.
"""

import operator
import threading
import time
from collections.abc import Callable
from typing import Any

from localcloud.ministack.core import regions

_INTERVAL = 1.0
"""Seconds between two evaluations."""
_MIN_DURATION = 10
"""Seconds for which a state stays if no data comes: AWS's shortest interval between two evaluations."""

_FURTHER_BACK = 2
"""Periods before EvaluationPeriods that an alarm looks at, as in the example of AWS's documentation."""

_BREACHES: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_lock = threading.RLock()

Alarm = dict[str, Any]


def patch() -> None:
    """Replace the evaluation, and evaluate the alarms once a second."""
    from ministack.services import cloudwatch

    cloudwatch._evaluate_alarm = _evaluate

    def evaluate_regularly() -> None:
        while True:
            time.sleep(_INTERVAL)
            for _ in regions.each_with(cloudwatch._alarms):
                cloudwatch._evaluate_all_alarms()

    threading.Thread(target=evaluate_regularly, name="alarms", daemon=True).start()


def _evaluate(alarm: Alarm) -> None:
    """Set the alarm's state by its data, and call its actions if the state changed."""
    from ministack.services import cloudwatch

    with _lock:
        result = _state_and_reason(alarm, time.time())
        before = alarm["StateValue"]
        if result is None or result[0] == before:
            return
        state, reason = result
        alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
        cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
        cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)


def _state_and_reason(alarm: Alarm, now: float) -> tuple[str, str] | None:
    """Return the alarm's state by its data and the reason, or None if the state stays."""
    from ministack.services import cloudwatch

    breaches = _BREACHES.get(alarm["ComparisonOperator"])
    if breaches is None or not alarm["MetricName"]:
        return None
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm["Dimensions"]))
    points = list(cloudwatch._metrics.get((alarm["Namespace"], alarm["MetricName"], dimensions)) or [])
    changed = alarm["StateUpdatedTimestamp"]
    has_new_data = any(point["Timestamp"] >= changed for point in points)
    if not has_new_data and now - changed < _MIN_DURATION:
        return None
    values = _values(alarm, points, now)
    present = [value for value in values if value is not None]
    breaching = sum(breaches(value, alarm["Threshold"]) for value in present)
    missing = alarm["TreatMissingData"]
    if missing == "breaching":
        breaching += len(values) - len(present)
    comparison = f"{breaching} of the last {len(values)} datapoints breach: {alarm['ComparisonOperator']} "
    comparison += f"{alarm['Threshold']} for {present}"
    if breaching >= (alarm.get("DatapointsToAlarm") or len(values)):
        return "ALARM", f"Threshold Crossed: {comparison}"
    if present or missing == "notBreaching":
        return "OK", f"Threshold not crossed: {comparison}"
    if missing == "missing":
        return "INSUFFICIENT_DATA", f"Insufficient Data: {len(values)} datapoints were unknown."
    return None


def _values(alarm: Alarm, points: list[dict[str, Any]], now: float) -> list[float | None]:
    """Return the metric's value in each evaluated period, oldest first; None for a period without data."""
    from ministack.services import cloudwatch

    period, count = alarm["Period"], alarm["EvaluationPeriods"]
    statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    periods: dict[int, list[dict[str, Any]]] = {}
    for point in points:
        periods.setdefault(int(point["Timestamp"] // period), []).append(point)
    newest = int(now // period)
    looked_at = range(newest - count - _FURTHER_BACK + 1, newest + 1)
    with_data = [periods[number] for number in looked_at if number in periods][-count:]
    values = [cloudwatch._stat_value(cloudwatch._calc_stats(found), statistic, found) for found in with_data]
    return [None] * (count - len(values)) + values
