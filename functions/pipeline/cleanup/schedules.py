"""One-time schedules: each starts the execution that tears an endpoint down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from contracts.request import TeardownOf
from core import aws, environment
from core.errors import ServiceUnavailable, code_of

if TYPE_CHECKING:
    from mypy_boto3_scheduler.type_defs import CreateScheduleInputTypeDef

_ATTEMPTS = 3


def schedule_teardown(teardown: TeardownOf, delay: timedelta) -> datetime:
    """Schedule the teardown, or move the run's existing schedule.

    Args:
        teardown: the input of the execution that the schedule starts.
        delay: how long from now, at least 0.

    Returns:
        When the execution starts, in whole seconds.

    Raises:
        ServiceUnavailable: the schedule was created and deleted by others at every attempt.
    """
    # An at() expression has whole seconds. Round up, so that the time is always in the future.
    at = (datetime.now(UTC) + delay + timedelta(seconds=1)).replace(microsecond=0)
    _create_or_update(
        {
            "Name": teardown.run,
            "GroupName": environment.schedule_group(),
            "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": environment.state_machine_arn(),
                "RoleArn": environment.schedule_role_arn(),
                "Input": json.dumps({"teardown_of": json.loads(teardown.model_dump_json(exclude_none=True))}),
            },
        }
    )
    return at


def _create_or_update(schedule: CreateScheduleInputTypeDef) -> None:
    # This execution may itself have been started by the schedule. Scheduler deletes that one a moment later,
    # which may be between the two calls: hence several attempts.
    for _ in range(_ATTEMPTS):
        with aws.allowing(lambda error: code_of(error) == "ConflictException"):
            aws.scheduler().create_schedule(**schedule)
            return
        with aws.allowing(lambda error: code_of(error) == "ResourceNotFoundException"):
            aws.scheduler().update_schedule(**schedule)
            return
    raise ServiceUnavailable(f"Schedule {schedule['Name']} changed during every attempt to update it.")
