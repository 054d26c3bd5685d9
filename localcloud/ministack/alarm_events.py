"""CloudWatch: EventBridge hears of every alarm that changes its state.

On AWS each change is an event, whatever actions the alarm has; MiniStack calls the actions and tells nobody
else.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

import functools
import json
import logging
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("localcloud")


def mend() -> None:
    """Tell of every change, before the alarm's own actions are called."""
    from ministack.services import cloudwatch

    dispatch = cloudwatch._dispatch_alarm_actions

    @functools.wraps(dispatch)
    def dispatching(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        try:
            _tell(alarm, old_state, new_state, reason)
        except Exception:
            logger.exception("Nobody was told that alarm %s is %s", alarm["AlarmName"], new_state)
        dispatch(alarm, old_state, new_state, reason)

    cloudwatch._dispatch_alarm_actions = dispatching


def _tell(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
    from ministack.services import eventbridge

    detail = {
        "alarmName": alarm["AlarmName"],
        "configuration": {"description": alarm.get("AlarmDescription", ""), "metrics": []},
        "previousState": {"value": old_state},
        "state": {
            "value": new_state,
            "reason": reason,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000"),
        },
    }
    entry = {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Detail": json.dumps(detail),
        "Resources": [alarm["AlarmArn"]],
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
