"""The checks of CreateSchedule and UpdateSchedule.

AWS: the expression must be valid, the schedule's role must trust the service, and the caller must be allowed
to pass this role. IAM authorizes a request on the schedule's ARN, which contains the schedule's group.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html
MiniStack: it checks neither the expression nor the role, and the ARN always contains the group "default".
Here: the requests are checked and authorized as on AWS.
"""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

from localcloud.ministack.core import regions
from localcloud.ministack.core.asgi import Handler, Response, json_error
from localcloud.ministack.core.options import ACCOUNT
from localcloud.ministack.iam.callers import pass_role_denial
from localcloud.ministack.iam.roles import assume_role_denial
from localcloud.ministack.scheduler.clock import ACTIONS, SERVICE, target_service
from localcloud.ministack.scheduler.expressions import Schedule, next_due


def patch() -> None:
    """Check and authorize the requests."""
    from ministack.core import iam_actions
    from ministack.services import scheduler

    scheduler._create_schedule = _validated(scheduler._create_schedule)
    scheduler._update_schedule = _validated(scheduler._update_schedule)
    scheduler.handle_request = _authorizing_pass_role(scheduler.handle_request)
    iam_actions.extract_resource_arn = _with_groups(iam_actions.extract_resource_arn)


def _validated(write: Callable[[str, Schedule], Response]) -> Callable[[str, Schedule], Response]:
    @functools.wraps(write)
    def write_if_valid(name: str, body: Schedule) -> Response:
        error = _error(body)
        return json_error(400, "ValidationException", error) if error else write(name, body)

    return write_if_valid


def _error(schedule: Schedule) -> str | None:
    """Return why a schedule is invalid, or None if it is valid."""
    now = time.time()
    try:
        due = next_due({"CreationDate": now, **schedule}, now - 1)
    except (LookupError, OSError, ValueError):
        due = None
    if due is None:
        return f"Invalid Schedule Expression {schedule.get('ScheduleExpression', '')}."
    target = schedule.get("Target") or {}
    if target_service(target) not in ACTIONS:
        return f"Targets are state machines and functions in the local cloud, not {target.get('Arn')}."
    if assume_role_denial(str(target.get("RoleArn", "")), SERVICE):
        return "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    return None


def _authorizing_pass_role(handle: Handler) -> Handler:
    @functools.wraps(handle)
    async def handle_if_allowed(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        if method in ("POST", "PUT") and path.startswith("/schedules/"):
            role = (_document(body).get("Target") or {}).get("RoleArn", "")
            if denial := pass_role_denial(headers, query, role, SERVICE):
                return json_error(403, "AccessDeniedException", denial)
        return await handle(method, path, headers, body, query)

    return handle_if_allowed


def _with_groups(resource_arn: Callable[..., str]) -> Callable[..., str]:
    """Return the schedule's ARN, with its group, as the resource on which a request is authorized."""

    @functools.wraps(resource_arn)
    def resource_arn_with_group(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *rest: Any
    ) -> str:
        if service == "scheduler" and path.startswith("/schedules/"):
            # MiniStack's handlers read the group from the same places.
            writes = method in ("POST", "PUT")
            value = _document(body).get("GroupName") if writes else query.get("groupName")
            group = (value[0] if isinstance(value, list) else value) or "default"
            return (
                f"arn:aws:scheduler:{regions.current()}:{ACCOUNT}:schedule/{group}/{path.rsplit('/', 1)[1]}"
            )
        return resource_arn(service, method, path, headers, body, query, *rest)

    return resource_arn_with_group


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
