"""CloudWatch alarms: judged by their own metric, period by period, and without new data too.

On AWS an alarm watches one metric with exactly its dimensions; it is in ALARM when DatapointsToAlarm of the
last EvaluationPeriods breach; and a period without data counts as TreatMissingData says. MiniStack takes
every metric of that name together, all periods as one, and looks only when data is put.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html

The period that is not over counts as soon as it has data, so that nobody waits a minute for an alarm. Without
new data a state stays for ten seconds, one that SetAlarmState gave as well. There is no metric math.
"""

import logging
import operator
import threading
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("localcloud")

_TICK = 1.0
"""Seconds between two looks at the alarms."""
_STAYS = 10
"""Seconds for which a state stays when no data comes: AWS's shortest interval between two evaluations."""

_BREACHES: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_lock = threading.RLock()

Alarm = dict[str, Any]


def mend() -> None:
    """Judge alarms from here, when data is put and all the time."""
    from ministack.services import cloudwatch

    cloudwatch._evaluate_alarm = _evaluate

    def watch() -> None:
        while True:
            time.sleep(_TICK)
            cloudwatch._evaluate_all_alarms()

    threading.Thread(target=watch, name="alarms", daemon=True).start()


def _evaluate(alarm: Alarm) -> None:
    """Bring the alarm into the state that its data says, and tell whom it is to tell."""
    from ministack.services import cloudwatch

    with _lock:
        judged = _judge(alarm, time.time())
        before = alarm["StateValue"]
        if judged is None or judged[0] == before:
            return
        state, reason = judged
        alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
        cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
        cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)


def _judge(alarm: Alarm, now: float) -> tuple[str, str] | None:
    """The state an alarm should have, and why; None where it keeps the one it has."""
    from ministack.services import cloudwatch

    breaches = _BREACHES.get(alarm["ComparisonOperator"])
    if breaches is None or not alarm["MetricName"]:
        return None
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm["Dimensions"]))
    points = list(cloudwatch._metrics.get((alarm["Namespace"], alarm["MetricName"], dimensions)) or [])
    changed = alarm["StateUpdatedTimestamp"]
    fresh = any(point["Timestamp"] >= changed for point in points)
    if not fresh and now - changed < _STAYS:
        return None
    values = _values(alarm, points, now)
    present = [value for value in values if value is not None]
    breaching = sum(breaches(value, alarm["Threshold"]) for value in present)
    missing = alarm["TreatMissingData"]
    if missing == "breaching":
        breaching += len(values) - len(present)
    told = f"{breaching} of the last {len(values)} datapoints breach: {alarm['ComparisonOperator']} "
    told += f"{alarm['Threshold']} for {present}"
    if breaching >= (alarm.get("DatapointsToAlarm") or len(values)):
        return "ALARM", f"Threshold Crossed: {told}"
    if present or missing == "notBreaching":
        return "OK", f"Threshold not crossed: {told}"
    if missing == "missing":
        return "INSUFFICIENT_DATA", f"Insufficient Data: {len(values)} datapoints were unknown."
    return None


def _values(alarm: Alarm, points: list[dict[str, Any]], now: float) -> list[float | None]:
    """The metric's value in each of the periods that count, oldest first; None where it has none."""
    from ministack.services import cloudwatch

    period, count = alarm["Period"], alarm["EvaluationPeriods"]
    statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    periods: dict[int, list[dict[str, Any]]] = {}
    for point in points:
        periods.setdefault(int(point["Timestamp"] // period), []).append(point)
    last = int(now // period)
    if last not in periods:
        last -= 1
    return [
        cloudwatch._stat_value(cloudwatch._calc_stats(periods[number]), statistic, periods[number])
        if number in periods
        else None
        for number in range(last - count + 1, last + 1)
    ]
