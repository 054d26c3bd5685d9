"""When a schedule is due."""

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

Schedule = dict[str, Any]
"""MiniStack's record of a schedule; its fields have the names that the API gives them."""


def next_due(schedule: Schedule, after: float) -> float | None:
    """Return when a schedule is next due.

    Args:
        schedule: The schedule. A rate() also needs its CreationDate.
        after: Seconds since the epoch. Earlier times, and this time itself, do not count.

    Returns:
        Seconds since the epoch, or None if the schedule is never due again.

    Raises:
        LookupError, OSError, ValueError: The expression or the time zone is invalid.
    """
    from ministack.services import eventbridge

    expression = str(schedule["ScheduleExpression"])
    zone = ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")
    if once := re.fullmatch(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", expression):
        due = datetime.fromisoformat(once[1]).replace(tzinfo=zone).timestamp()
        return due if due > after else None
    start, end = schedule.get("StartDate"), schedule.get("EndDate")
    if interval := eventbridge._parse_rate_seconds(expression):
        # Without a StartDate, a schedule is first due when it is created.
        first = schedule["CreationDate"] if start is None else start
        due = first + max(0, (after - first) // interval + 1) * interval
    elif fields := eventbridge._parse_cron_fields(expression):
        since = datetime.fromtimestamp(after if start is None else max(after, start), zone)
        next_time = eventbridge._cron_next_fire(fields, since)
        if next_time is None:
            return None
        due = next_time.timestamp()
    else:
        raise ValueError(expression)
    return due if end is None or due <= end else None
