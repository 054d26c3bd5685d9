"""Executing the schedules that are due.

AWS: a schedule acts as its role, in its own time zone. A schedule that was updated, or created again under
the same name, is executed again.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
MiniStack: it looks for due schedules every ten seconds and in UTC. It does not authorize the role; for a
function it checks the function's own policy. It executes a one-time schedule only once for each name.
Here: schedules are executed within a second, each version of them, if the role allows it.
"""

import json
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.ministack.core import regions
from localcloud.ministack.core.options import ACCOUNT
from localcloud.ministack.iam.roles import assume_role_denial, role_denial
from localcloud.ministack.scheduler.expressions import Schedule, next_due

logger = logging.getLogger("localcloud")

SERVICE = "scheduler.amazonaws.com"
ACTIONS = {"states": "states:StartExecution", "lambda": "lambda:InvokeFunction"}
"""The action that a schedule performs, by the service of its target."""
_INTERVAL = 0.5
"""Seconds between two looks at the schedules. AWS is exact to the minute."""


def patch() -> None:
    """Replace MiniStack's search for due schedules, and search more often."""
    from ministack.services import scheduler

    scheduler._SCHEDULE_TICK_INTERVAL = _INTERVAL
    scheduler._tick_schedules = _Clock().tick


def target_service(target: Mapping[str, Any]) -> str:
    """Return the service in the ARN of a schedule's target, or "" if there is none."""
    return (str(target.get("Arn", "")).split(":") + [""] * 3)[2]


class _Clock:
    """Executes the schedules that are due. One thread calls `tick` regularly."""

    def __init__(self) -> None:
        self._last_due: dict[tuple[str, float], float] = {}
        """The time of the last execution of each version of each schedule."""

    def tick(self) -> None:
        """Execute every enabled schedule that is due."""
        from ministack.services import scheduler

        for _ in regions.each_with(scheduler._schedules):
            self._tick_region()

    def _tick_region(self) -> None:
        from ministack.services import scheduler

        now = time.time()
        for key, schedule in list(scheduler._schedules.items()):
            version = (schedule["Arn"], schedule["LastModificationDate"])
            # The time of the modification itself counts: a rate() starts with it.
            after = self._last_due.get(version, schedule["LastModificationDate"] - 0.001)
            due = next_due(schedule, after)
            if due is not None and (due > now or schedule["State"] != "ENABLED"):
                continue
            if due is not None:
                self._last_due[version] = due
                _execute(schedule, due)
                due = next_due(schedule, due)
            if due is None and schedule["ActionAfterCompletion"] == "DELETE":
                scheduler._delete_schedule(schedule["Name"], {"groupName": key.split("/")[0]})


def _execute(schedule: Schedule, due: float) -> None:
    """Call a schedule's target, or log a warning if its role does not allow it."""
    from ministack.services import eventbridge

    target = schedule["Target"]
    role, service = target["RoleArn"], target_service(target)
    denial = assume_role_denial(role, SERVICE) or role_denial(
        role, schedule["Name"], ACTIONS[service], target["Arn"]
    )
    if denial is not None:
        logger.warning("Schedule %s: %s", schedule["Arn"], denial)
        return
    payload = _payload(schedule, datetime.fromtimestamp(due, UTC))
    if service == "states":
        eventbridge._dispatch_to_stepfunctions(target["Arn"], payload)
    else:
        eventbridge._dispatch_to_lambda(target["Arn"], payload)


def _payload(schedule: Schedule, due: datetime) -> str:
    """Return the target's Input with its context attributes filled in, or an event if it has no Input."""
    moment, execution = f"{due:%Y-%m-%dT%H:%M:%SZ}", str(uuid.uuid4())
    attributes = {"schedule-arn": schedule["Arn"], "scheduled-time": moment, "execution-id": execution}
    if text := schedule["Target"].get("Input"):
        for name, value in {**attributes, "attempt-number": "1"}.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return str(text)
    return json.dumps(
        {
            "version": "0",
            "id": execution,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": ACCOUNT,
            "time": moment,
            "region": regions.current(),
            "resources": [schedule["Arn"]],
            "detail": "{}",
        }
    )
