"""The resources AWS::Scheduler::Schedule and AWS::Scheduler::ScheduleGroup.

AWS: a stack sets all of a schedule's properties. The creation of the resource fails if its name is taken.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-scheduler-schedule.html
MiniStack: it ignores half of the properties, and takes over an existing schedule or group of the same name.
Here: a stack calls the same operations as a client (CreateSchedule, UpdateSchedule, CreateScheduleGroup).
"""

import json
from datetime import datetime
from typing import Any

from localcloud.ministack.core.asgi import Response

Properties = dict[str, Any]


def patch() -> None:
    """Replace how a stack creates and updates its schedules."""
    from ministack.services import scheduler
    from ministack.services.cloudformation import provisioners

    def name_of(logical_id: str, properties: Properties, stack: str) -> str:
        return str(properties.get("Name") or provisioners._physical_name(stack, logical_id, max_len=64))

    def create(logical_id: str, properties: Properties, stack: str) -> tuple[str, dict[str, str]]:
        name = name_of(logical_id, properties, stack)
        return _result(scheduler._create_schedule(name, _request(properties)), name)

    def update(
        name: str, before: Properties, properties: Properties, stack: str, logical_id: str
    ) -> tuple[str, dict[str, str]]:
        new_name = name_of(logical_id, properties, stack)
        if (new_name, properties.get("GroupName")) == (name, before.get("GroupName")):
            return _result(scheduler._update_schedule(name, _request(properties)), name)
        replacement = create(logical_id, properties, stack)
        scheduler._delete_schedule(name, {"groupName": before.get("GroupName", "default")})
        return replacement

    def create_group(logical_id: str, properties: Properties, stack: str) -> tuple[str, dict[str, str]]:
        name = name_of(logical_id, properties, stack)
        return _result(scheduler._create_schedule_group(name, {"Tags": properties.get("Tags", [])}), name)

    handlers = provisioners._RESOURCE_HANDLERS
    handlers["AWS::Scheduler::Schedule"].update(create=create, update=update, update_with_logical_id=True)
    handlers["AWS::Scheduler::ScheduleGroup"]["create"] = create_group


def _request(properties: Properties) -> Properties:
    """Return a template's properties as CreateSchedule expects them: with dates as numbers."""
    dates: Properties = {
        name: datetime.fromisoformat(properties[name]).timestamp()
        for name in ("StartDate", "EndDate")
        if name in properties
    }
    return {**properties, **dates}


def _result(response: Response, name: str) -> tuple[str, dict[str, str]]:
    """Return the resource's physical id and attributes. Raise ValueError with the response's error."""
    status, _, body = response
    document = json.loads(body)
    if status >= 400:
        raise ValueError(document.get("Message") or document.get("message"))
    return name, {"Arn": next(iter(document.values()))}
