"""EventBridge Scheduler: schedules are executed when they are due, as a role that allows it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from botocore.exceptions import ClientError

from tests.integration.lab import Lab, allow, unique
from tests.waiting import wait_until

ECHO = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}
NEVER = "at(2099-01-01T00:00:00)"


@pytest.fixture
def machine(lab: Lab) -> str:
    return lab.machine(ECHO)


@pytest.fixture
def starter(lab: Lab, machine: str) -> str:
    """A role with which the scheduler may start the machine."""
    return lab.role("scheduler.amazonaws.com", allow("states:StartExecution", machine))


@pytest.fixture
def group(lab: Lab) -> Iterator[str]:
    """A schedule group."""
    name = unique("group")
    lab.client("scheduler").create_schedule_group(Name=name)
    yield name
    lab.client("scheduler").delete_schedule_group(Name=name)


Request = Callable[..., dict[str, Any]]


@pytest.fixture
def request_for(group: str, machine: str, starter: str) -> Request:
    """request_for(name, expression, input): a request for a schedule that starts the machine."""

    def make(name: str, expression: str = NEVER, data: Any = None) -> dict[str, Any]:
        return {
            "Name": name,
            "GroupName": group,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": machine, "RoleArn": starter, "Input": json.dumps(data or {})},
        }

    return make


def at(moment: datetime) -> str:
    return f"at({moment:%Y-%m-%dT%H:%M:%S})"


def soon(seconds: int = 2) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


def send_soon(send: Callable[..., Any], request: dict[str, Any], zone: str = "UTC") -> datetime:
    """Send a request for a schedule that is due soon; return when it is due.

    On a busy machine the time may have passed before the request arrives. The request is then refused.
    """

    def accepted() -> datetime | None:
        moment = soon()
        expression = {"ScheduleExpression": at(moment.astimezone(ZoneInfo(zone)))}
        try:
            send(**request | expression, ScheduleExpressionTimezone=zone)
        except ClientError as error:
            if "Invalid Schedule Expression" not in str(error):
                raise
            return None
        return moment

    moment: datetime = wait_until(accepted, "a request that arrives in time")
    return moment


def inputs(lab: Lab, machine: str) -> list[Any]:
    return [json.loads(execution["input"]) for execution in lab.executions(machine)]


def names(lab: Lab, group: str) -> list[str]:
    return [found["Name"] for found in lab.client("scheduler").list_schedules(GroupName=group)["Schedules"]]


# --- execution ---


def test_a_one_time_schedule_starts_the_machine_and_is_deleted(
    lab: Lab, group: str, machine: str, request_for: Request
) -> None:
    request = request_for("teardown", data={"at": "<aws.scheduler.scheduled-time>"})
    due = send_soon(lab.client("scheduler").create_schedule, {**request, "ActionAfterCompletion": "DELETE"})
    (execution,) = wait_until(lambda: lab.executions(machine), "the machine to start")
    assert execution["startDate"] >= due
    wait_until(lambda: names(lab, group) == [], "the schedule to be deleted")
    assert inputs(lab, machine) == [{"at": f"{due:%Y-%m-%dT%H:%M:%SZ}"}]


@pytest.mark.parametrize("again", ["update", "create"])
def test_a_schedule_is_executed_once_for_each_of_its_versions(
    lab: Lab, group: str, machine: str, request_for: Request, again: str
) -> None:
    scheduler = lab.client("scheduler")
    # A schedule's time is a time in its zone.
    send_soon(scheduler.create_schedule, request_for("again", data={"version": 1}), "Asia/Kolkata")
    wait_until(lambda: inputs(lab, machine) == [{"version": 1}], "the first execution")
    # Without ActionAfterCompletion it stays.
    assert names(lab, group) == ["again"]
    if again == "create":
        scheduler.delete_schedule(Name="again", GroupName=group)
    send = scheduler.update_schedule if again == "update" else scheduler.create_schedule
    send_soon(send, request_for("again", data={"version": 2}))
    wait_until(lambda: len(inputs(lab, machine)) > 1, "the second execution")
    # Schedules are executed in the order of their creation: the two others were looked at before this one.
    send_soon(scheduler.create_schedule, request_for("last", data={"version": 3}))
    wait_until(lambda: {"version": 3} in inputs(lab, machine), "the last schedule")
    assert sorted(data["version"] for data in inputs(lab, machine)) == [1, 2, 3]


def test_a_schedule_that_was_postponed_or_disabled_is_not_executed(
    lab: Lab, group: str, machine: str, request_for: Request
) -> None:
    scheduler, later = lab.client("scheduler"), at(soon() + timedelta(days=1))

    def create(seconds: int) -> bool:
        """Create schedules that are due in some seconds; return whether one was postponed in time."""
        due = soon(seconds)

        def due_then(name: str) -> dict[str, Any]:
            return request_for(f"{name}-{seconds}", at(due), {name: seconds})

        try:
            scheduler.create_schedule(**due_then("postponed"))
            scheduler.update_schedule(**due_then("postponed") | {"ScheduleExpression": later})
            scheduler.create_schedule(
                **due_then("disabled"), State="DISABLED", ActionAfterCompletion="DELETE"
            )
            scheduler.create_schedule(**due_then("last"))
        except ClientError:
            return False
        return datetime.now(UTC) < due

    seconds = next(seconds for seconds in (3, 15, 75) if create(seconds))
    # The scheduler looks at this schedule after the two others.
    wait_until(lambda: {"last": seconds} in inputs(lab, machine), "the last schedule")
    assert {"postponed": seconds} not in inputs(lab, machine)
    assert {"disabled": seconds} not in inputs(lab, machine)
    assert {f"disabled-{seconds}", f"postponed-{seconds}"} <= set(names(lab, group))
    found = scheduler.get_schedule(Name=f"postponed-{seconds}", GroupName=group)
    assert found["ScheduleExpression"] == later


def test_a_rate_starts_with_the_schedules_creation(lab: Lab, group: str) -> None:
    queue, function = lab.recorder()
    # The function's own policy does not matter; the schedule's role does.
    role = lab.role("scheduler.amazonaws.com", allow("lambda:InvokeFunction", function))
    created = lab.client("scheduler").create_schedule(
        Name="sweep",
        GroupName=group,
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": function, "RoleArn": role},
    )
    event = lab.receive(queue)
    assert (event["source"], event["detail-type"]) == ("aws.scheduler", "Scheduled Event")
    assert event["resources"] == [created["ScheduleArn"]]
    found = lab.client("scheduler").get_schedule(Name="sweep", GroupName=group)
    assert event["time"] == f"{found['CreationDate'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_a_role_that_may_not_start_the_machine_does_not_start_it(
    lab: Lab, machine: str, request_for: Request
) -> None:
    request = request_for("powerless")
    request["Target"]["RoleArn"] = lab.role("scheduler.amazonaws.com")
    send_soon(lab.client("scheduler").create_schedule, request)
    denial = f"states:StartExecution on resource: {machine}"
    wait_until(lambda: denial in lab.server_log(), "the denial in the log")
    assert inputs(lab, machine) == []


# --- checks of requests ---


def test_only_a_caller_who_may_pass_the_role_can_create_a_schedule(
    lab: Lab, group: str, request_for: Request
) -> None:
    arn = f"arn:aws:scheduler:{lab.cloud.region}:{lab.cloud.account}:schedule/{group}/*"
    create = allow(["scheduler:CreateSchedule", "scheduler:DeleteSchedule"], arn)
    request = request_for("mine")
    role = request["Target"]["RoleArn"]

    def passing(service: str) -> dict[str, Any]:
        return allow("iam:PassRole", role, Condition={"StringEquals": {"iam:PassedToService": service}})

    for statements in ((create,), (create, passing("states.amazonaws.com"))):
        with pytest.raises(ClientError, match=f"perform: iam:PassRole on resource: {role}") as denied:
            lab.client_as("scheduler", *statements).create_schedule(**request)
        assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    scheduler = lab.client_as("scheduler", create, passing("scheduler.amazonaws.com"))
    scheduler.create_schedule(**request)
    with pytest.raises(ClientError, match="not authorized to perform: scheduler:CreateSchedule"):
        scheduler.create_schedule(**request | {"GroupName": "default"})
    with pytest.raises(ClientError, match="not authorized to perform: scheduler:GetSchedule"):
        scheduler.get_schedule(Name="mine", GroupName=group)
    scheduler.delete_schedule(Name="mine", GroupName=group)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ScheduleExpression": "at(tomorrow)"}, "Invalid Schedule Expression at"),
        ({"ScheduleExpression": "at(2020-01-01T00:00:00)"}, "Invalid Schedule Expression at"),
        ({"ScheduleExpression": "rate(0 days)"}, "Invalid Schedule Expression rate"),
        ({"ScheduleExpressionTimezone": "Middle/Earth"}, "Invalid Schedule Expression"),
        ({"ScheduleExpressionTimezone": "America"}, "Invalid Schedule Expression"),
        ({"Role": "lambda.amazonaws.com"}, "must allow AWS EventBridge Scheduler to assume the role"),
        ({"Target": "arn:aws:sqs:us-east-1:000000000000:q"}, "Targets are state machines and functions"),
    ],
)
def test_a_schedule_that_cannot_be_executed_is_refused(
    lab: Lab, machine: str, request_for: Request, changed: dict[str, str], message: str
) -> None:
    role = lab.role(changed.get("Role", "scheduler.amazonaws.com"))
    target = {"Arn": changed.get("Target", machine), "RoleArn": role}
    fields = {name: value for name, value in changed.items() if name.startswith("Schedule")}
    scheduler = lab.client("scheduler")
    with pytest.raises(scheduler.exceptions.ValidationException, match=message):
        scheduler.create_schedule(**request_for("never") | fields | {"Target": target})


def test_a_name_is_unique_in_its_group_and_is_deleted_with_it(lab: Lab, request_for: Request) -> None:
    scheduler, group = lab.client("scheduler"), unique("group")
    request = request_for("one") | {"GroupName": group}
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.create_schedule(**request)
    scheduler.create_schedule_group(Name=group)
    scheduler.create_schedule(**request)
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule(**request)
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule_group(Name=group)
    scheduler.delete_schedule_group(Name=group)
    for operation in (scheduler.get_schedule, scheduler.delete_schedule):
        with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
            operation(Name="one", GroupName=group)
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.update_schedule(**request)
