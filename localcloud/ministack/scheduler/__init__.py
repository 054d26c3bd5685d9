"""EventBridge Scheduler: schedules are checked, authorized and executed as on AWS.

clock        executing the schedules that are due
expressions  when a schedule is due
requests     the checks of CreateSchedule and UpdateSchedule

Schedules start state machines and invoke functions. They have no flexible time window and no retries. Other
targets are refused.
"""

from localcloud.ministack.scheduler import clock, requests


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    requests.patch()
    clock.patch()
