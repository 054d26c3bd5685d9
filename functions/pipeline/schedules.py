"""One-time schedules that start an execution which takes the endpoint down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aws
import settings
from botocore.exceptions import ClientError
from contracts import TakeDown
from errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_scheduler.type_defs import CreateScheduleInputTypeDef


def take_down(wish: TakeDown, delay: timedelta) -> datetime:
    """Have the run that `wish` names taken down after `delay`, instead of when it was to be; answers when."""
    # Scheduler's at() has whole seconds and no zone but the one given beside it.
    at = (datetime.now(UTC) + delay).replace(microsecond=0)
    schedule: CreateScheduleInputTypeDef = {
        "Name": wish.run,
        "GroupName": settings.schedule_group(),
        "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": settings.state_machine_arn(),
            "RoleArn": settings.schedule_role_arn(),
            "Input": json.dumps({"take_down": json.loads(wish.model_dump_json(exclude_none=True))}),
        },
    }
    try:
        aws.scheduler().create_schedule(**schedule)
    except ClientError as error:
        if code_of(error) != "ConflictException":
            raise
        aws.scheduler().update_schedule(**schedule)
    return at
