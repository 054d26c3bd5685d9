"""An event for each change of an alarm's state.

AWS: EventBridge gets an event for every change, whatever actions the alarm has.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
MiniStack: it calls the alarm's actions and sends no event.
Here: an event is put on the default bus before the actions are called.
"""

import functools
import logging
from datetime import UTC, datetime
from typing import Any

from localcloud.ministack.eventbridge.service_events import put_event

logger = logging.getLogger("localcloud")


def patch() -> None:
    """Send an event before the alarm's actions are called."""
    from ministack.services import cloudwatch

    dispatch = cloudwatch._dispatch_alarm_actions

    @functools.wraps(dispatch)
    def dispatch_with_event(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        try:
            _put_event(alarm, old_state, new_state, reason)
        except Exception:
            logger.exception("Alarm %s is %s, but the event could not be sent", alarm["AlarmName"], new_state)
        dispatch(alarm, old_state, new_state, reason)

    cloudwatch._dispatch_alarm_actions = dispatch_with_event


def _put_event(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")
    detail = {
        "alarmName": alarm["AlarmName"],
        "configuration": {"description": alarm.get("AlarmDescription", ""), "metrics": []},
        "previousState": {"value": old_state},
        "state": {"value": new_state, "reason": reason, "timestamp": now},
    }
    put_event("aws.cloudwatch", "CloudWatch Alarm State Change", detail, [alarm["AlarmArn"]])
