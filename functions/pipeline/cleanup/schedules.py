"""One-time schedules that start an execution which takes the endpoint down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from contracts.request import TeardownOf
from core import aws, environment
from core.errors import ServiceUnavailable, code_of

if TYPE_CHECKING:
    from mypy_boto3_scheduler.type_defs import CreateScheduleInputTypeDef

_ATTEMPTS = 3


def schedule_teardown(wish: TeardownOf, delay: timedelta) -> datetime:
    """Have the run that `wish` names taken down after `delay`, instead of when it was to be; answers when."""
    # Scheduler's at() has whole seconds and no zone but the one given beside it. Rounded up, so that the time
    # is never one that has passed.
    at = (datetime.now(UTC) + delay + timedelta(seconds=1)).replace(microsecond=0)
    schedule: CreateScheduleInputTypeDef = {
        "Name": wish.run,
        "GroupName": environment.schedule_group(),
        "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": environment.state_machine_arn(),
            "RoleArn": environment.schedule_role_arn(),
            "Input": json.dumps({"teardown_of": json.loads(wish.model_dump_json(exclude_none=True))}),
        },
    }
    _put(schedule)
    return at


def _put(schedule: CreateScheduleInputTypeDef) -> None:
    """Create the schedule, or change the one there is.

    The one that started the execution which calls this is deleted by Scheduler shortly after, which may be
    in between.
    """
    for _ in range(_ATTEMPTS):
        try:
            aws.scheduler().create_schedule(**schedule)
            return
        except ClientError as error:
            if code_of(error) != "ConflictException":
                raise
        try:
            aws.scheduler().update_schedule(**schedule)
            return
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
    raise ServiceUnavailable(f"Schedule {schedule['Name']} came and went at every look.")
