"""EventBridge Scheduler: a schedule fires within a second, as its role, and only then.

On AWS a schedule's role has to trust the service and to allow what the schedule does; who makes the schedule
has to be allowed to pass that role; the expression is checked, and meant in the schedule's time zone; and a
schedule that was changed, or made anew under a name that was used before, fires anew. MiniStack looks every
ten seconds, in UTC, asks for no permission (for a function, the function's own policy) and remembers a name
that has fired. In a stack it keeps half of a schedule's properties, and takes over what somebody else has
made under the same name.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html

Schedules start state machines and invoke functions, once, without a flexible time window or retries; other
targets are refused.
"""

import functools
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from localcloud.ministack.asgi import Answer, json_error
from localcloud.ministack.callers import pass_role_denial
from localcloud.ministack.roles import role_denial, trusts
from localcloud.ministack.settings import ACCOUNT, REGION

logger = logging.getLogger("localcloud")

_TICK = 0.5
"""Seconds between two looks at the schedules. AWS promises the minute."""
_SERVICE = "scheduler.amazonaws.com"
_ACTIONS = {"states": "states:StartExecution", "lambda": "lambda:InvokeFunction"}

Schedule = dict[str, Any]


def mend() -> None:
    """Mend how schedules are made, authorized and fired, and what a stack makes of them."""
    from ministack.core import iam_actions
    from ministack.services import eventbridge, scheduler

    clock = _Clock()
    scheduler._SCHEDULE_TICK_INTERVAL = _TICK
    scheduler._tick_schedules = clock.tick
    # The rules of EventBridge itself that have a schedule.
    eventbridge._SCHEDULER_TICK_INTERVAL = _TICK
    scheduler._create_schedule = _checking(scheduler._create_schedule)
    scheduler._update_schedule = _checking(scheduler._update_schedule)
    scheduler.handle_request = _asking_to_pass_the_role(scheduler.handle_request)
    iam_actions.extract_resource_arn = _knowing_groups(iam_actions.extract_resource_arn)
    _mend_stacks()


# --- who may make a schedule, and of what ---


def _checking(make: Callable[[str, Schedule], Answer]) -> Callable[[str, Schedule], Answer]:
    """CreateSchedule and UpdateSchedule, refusing what would never fire."""

    @functools.wraps(make)
    def making(name: str, body: Schedule) -> Answer:
        message = _flaw(body)
        return json_error(400, "ValidationException", message) if message else make(name, body)

    return making


def _flaw(schedule: Schedule) -> str | None:
    from ministack.services import iam

    expression = str(schedule.get("ScheduleExpression", ""))
    now = time.time()
    try:
        following = _following({"CreationDate": now, **schedule}, now - 1)
    except (LookupError, OSError, ValueError):
        following = None
    if following is None:
        return f"Invalid Schedule Expression {expression}."
    target = schedule.get("Target") or {}
    if _service_of(target) not in _ACTIONS:
        return f"Targets are state machines and functions in the local cloud, not {target.get('Arn')}."
    role = iam._roles.get(str(target.get("RoleArn", "")).rsplit("/", 1)[-1])
    if role is None or not trusts(role, _SERVICE):
        return "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    return None


def _asking_to_pass_the_role(handle: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handle)
    async def handling(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        if method in ("POST", "PUT") and path.startswith("/schedules/"):
            role = (_document(body).get("Target") or {}).get("RoleArn", "")
            if denial := pass_role_denial(headers, query, role, _SERVICE):
                return json_error(403, "AccessDeniedException", denial)
        answer: Answer = await handle(method, path, headers, body, query)
        return answer

    return handling


def _knowing_groups(resource_arn: Callable[..., str]) -> Callable[..., str]:
    """The resource a request is authorized on: a schedule's ARN names its group."""

    @functools.wraps(resource_arn)
    def resource(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *rest: Any
    ) -> str:
        if service == "scheduler" and path.startswith("/schedules/"):
            # Where MiniStack's handlers take it from, too.
            makes = method in ("POST", "PUT")
            given = _document(body).get("GroupName") if makes else query.get("groupName")
            group = (given[0] if isinstance(given, list) else given) or "default"
            return f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{group}/{path.rsplit('/', 1)[1]}"
        return resource_arn(service, method, path, headers, body, query, *rest)

    return resource


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


# --- when it fires ---


def _following(schedule: Schedule, after: float) -> float | None:
    """The first moment after `after`, in seconds since the epoch, at which a schedule is to fire, if any.

    Raises LookupError, OSError or ValueError for an expression or a time zone that there is not.
    """
    from ministack.services import eventbridge

    expression = str(schedule["ScheduleExpression"])
    zone = ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")
    if once := re.fullmatch(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", expression):
        moment = datetime.fromisoformat(once[1]).replace(tzinfo=zone).timestamp()
        return moment if moment > after else None
    start, end = schedule.get("StartDate"), schedule.get("EndDate")
    if interval := eventbridge._parse_rate_seconds(expression):
        # Without a StartDate the first time is at once.
        anchor = schedule["CreationDate"] if start is None else start
        moment = anchor + max(0, (after - anchor) // interval + 1) * interval
    elif fields := eventbridge._parse_cron_fields(expression):
        since = datetime.fromtimestamp(after if start is None else max(after, start), zone)
        following = eventbridge._cron_next_fire(fields, since)
        if following is None:
            return None
        moment = following.timestamp()
    else:
        raise ValueError(expression)
    return moment if end is None or moment <= end else None


class _Clock:
    """Fires what is due. One thread calls `tick` again and again."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, float], float] = {}
        """When each version of each schedule was last due."""

    def tick(self) -> None:
        """Fire every enabled schedule whose moment has come."""
        from ministack.services import scheduler

        now = time.time()
        for key, schedule in list(scheduler._schedules.items()):
            version = (schedule["Arn"], schedule["LastModificationDate"])
            # The moment of its making counts: that is when a rate begins.
            after = self._last.get(version, schedule["LastModificationDate"] - 0.001)
            due = _following(schedule, after)
            if due is not None and (due > now or schedule["State"] != "ENABLED"):
                continue
            if due is not None:
                self._last[version] = due
                _fire(schedule, due)
                due = _following(schedule, due)
            if due is None and schedule["ActionAfterCompletion"] == "DELETE":
                scheduler._delete_schedule(schedule["Name"], {"groupName": key.split("/")[0]})


def _fire(schedule: Schedule, due: float) -> None:
    """Do what a schedule says. Where its role does not allow that, the log says so and nobody else."""
    from ministack.services import eventbridge, iam

    target = schedule["Target"]
    service = _service_of(target)
    role = iam._roles.get(target["RoleArn"].rsplit("/", 1)[-1])
    if role is None or not trusts(role, _SERVICE):
        refusal: str | None = f"the role {target['RoleArn']} does not trust {_SERVICE}"
    else:
        session = schedule["Name"]
        refusal = role_denial(target["RoleArn"], session, _ACTIONS[service], target["Arn"])
    if refusal is not None:
        logger.warning("Schedule %s: %s", schedule["Arn"], refusal)
        return
    payload = _payload(schedule, datetime.fromtimestamp(due, UTC))
    if service == "states":
        eventbridge._dispatch_to_stepfunctions(target["Arn"], payload)
    else:
        eventbridge._dispatch_to_lambda(target["Arn"], payload)


def _payload(schedule: Schedule, due: datetime) -> str:
    """What the target is given: its Input with what it asks of the invocation, or an event of no detail."""
    moment, execution = f"{due:%Y-%m-%dT%H:%M:%SZ}", str(uuid.uuid4())
    asked = {"schedule-arn": schedule["Arn"], "scheduled-time": moment, "execution-id": execution}
    text = schedule["Target"].get("Input")
    if text:
        for name, value in {**asked, "attempt-number": "1"}.items():
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
            "region": REGION,
            "resources": [schedule["Arn"]],
            "detail": "{}",
        }
    )


def _service_of(target: Mapping[str, Any]) -> str:
    return (str(target.get("Arn", "")).split(":") + [""] * 3)[2]


# --- schedules of a stack ---


def _mend_stacks() -> None:
    """Give a stack's schedules all their properties, and refuse names that are taken."""
    from ministack.services import scheduler
    from ministack.services.cloudformation import provisioners

    def create(logical_id: str, properties: Schedule, stack: str) -> tuple[str, dict[str, str]]:
        name = properties.get("Name") or provisioners._physical_name(stack, logical_id, max_len=64)
        return _made(scheduler._create_schedule(name, _requested(properties)), name)

    def update(
        name: str, before: Schedule, properties: Schedule, stack: str, logical_id: str
    ) -> tuple[str, dict[str, str]]:
        named = properties.get("Name") or provisioners._physical_name(stack, logical_id, max_len=64)
        if (named, properties.get("GroupName")) == (name, before.get("GroupName")):
            return _made(scheduler._update_schedule(name, _requested(properties)), name)
        made = create(logical_id, properties, stack)
        scheduler._delete_schedule(name, {"groupName": before.get("GroupName", "default")})
        return made

    def create_group(logical_id: str, properties: Schedule, stack: str) -> tuple[str, dict[str, str]]:
        name = properties.get("Name") or provisioners._physical_name(stack, logical_id, max_len=64)
        return _made(scheduler._create_schedule_group(name, {"Tags": properties.get("Tags", [])}), name)

    of_schedule = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]
    of_schedule.update(create=create, update=update, update_with_logical_id=True)
    provisioners._RESOURCE_HANDLERS["AWS::Scheduler::ScheduleGroup"]["create"] = create_group


def _requested(properties: Schedule) -> Schedule:
    """A schedule's properties in a template as CreateSchedule takes them: its dates as numbers."""
    dates: Schedule = {
        name: datetime.fromisoformat(properties[name]).timestamp()
        for name in ("StartDate", "EndDate")
        if name in properties
    }
    return {**properties, **dates}


def _made(answer: Answer, name: str) -> tuple[str, dict[str, str]]:
    status, _, body = answer
    said = json.loads(body)
    if status >= 400:
        raise ValueError(said.get("Message") or said.get("message"))
    return name, {"Arn": next(iter(said.values()))}
