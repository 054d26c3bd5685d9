"""EventBridge Scheduler in the local cloud: what is due is done, soon, and as a role that may do it."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from botocore.exceptions import ClientError

ECHO = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}
OFF = {"Mode": "OFF"}
NEVER = "at(2099-01-01T00:00:00)"


@pytest.fixture
def group(client: Callable[..., Any]) -> Iterator[str]:
    """A schedule group, deleted with the test."""
    name = f"group-{uuid.uuid4().hex[:12]}"
    client("scheduler").create_schedule_group(Name=name)
    yield name
    client("scheduler").delete_schedule_group(Name=name)


@pytest.fixture
def machine(lab: Any) -> str:
    return str(lab.machine(ECHO))


@pytest.fixture
def starter(lab: Any, machine: str) -> str:
    """A role with which the scheduler may start the machine."""
    allowed = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": machine}
    return str(lab.role("scheduler.amazonaws.com", allowed))


@pytest.fixture
def inputs(client: Callable[..., Any]) -> Callable[[str], list[Any]]:
    """inputs(machine): what its executions so far were started with."""

    def look(machine: str) -> list[Any]:
        states = client("stepfunctions")
        found = states.list_executions(stateMachineArn=machine)["executions"]
        described = [states.describe_execution(executionArn=one["executionArn"]) for one in found]
        return [json.loads(one["input"]) for one in described]

    return look


def at(moment: datetime) -> str:
    return f"at({moment:%Y-%m-%dT%H:%M:%S})"


def soon() -> datetime:
    """A whole second, one or two from now."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)


def names(client: Callable[..., Any], group: str) -> list[str]:
    return [found["Name"] for found in client("scheduler").list_schedules(GroupName=group)["Schedules"]]


# --- what fires ---


def test_a_one_time_schedule_starts_the_machine_within_a_second_and_is_gone(
    client: Any, until: Any, group: str, machine: str, starter: str, inputs: Any
) -> None:
    moment = soon()
    client("scheduler").create_schedule(
        Name="teardown",
        GroupName=group,
        ScheduleExpression=at(moment),
        FlexibleTimeWindow=OFF,
        ActionAfterCompletion="DELETE",
        Target={"Arn": machine, "RoleArn": starter, "Input": '{"at": "<aws.scheduler.scheduled-time>"}'},
    )
    assert names(client, group) == ["teardown"]
    until(lambda: inputs(machine), "the machine to start")
    assert datetime.now(UTC) - moment < timedelta(seconds=1.5)
    until(lambda: names(client, group) == [], "the schedule to be gone")
    assert inputs(machine) == [{"at": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}]


def test_a_time_is_meant_in_the_schedules_zone(
    client: Any, until: Any, group: str, machine: str, starter: str, inputs: Any
) -> None:
    client("scheduler").create_schedule(
        Name="local",
        GroupName=group,
        ScheduleExpression=at(soon().astimezone(ZoneInfo("Asia/Kolkata"))),
        ScheduleExpressionTimezone="Asia/Kolkata",
        FlexibleTimeWindow=OFF,
        Target={"Arn": machine, "RoleArn": starter, "Input": '{"here": true}'},
    )
    until(lambda: inputs(machine) == [{"here": True}], "the machine to start")
    # Without ActionAfterCompletion it stays, and does not fire again.
    time.sleep(1.5)
    assert names(client, group) == ["local"]
    assert len(inputs(machine)) == 1


@pytest.mark.parametrize("again", ["update", "create"])
def test_a_name_that_has_fired_fires_anew(
    client: Any, until: Any, group: str, machine: str, starter: str, inputs: Any, again: str
) -> None:
    scheduler = client("scheduler")

    def request(number: int) -> dict[str, Any]:
        target = {"Arn": machine, "RoleArn": starter, "Input": json.dumps(number)}
        named = {"Name": "again", "GroupName": group, "FlexibleTimeWindow": OFF, "Target": target}
        return {**named, "ScheduleExpression": at(soon())}

    scheduler.create_schedule(**request(1))
    until(lambda: inputs(machine) == [1], "the first start")
    if again == "update":
        scheduler.update_schedule(**request(2))
    else:
        scheduler.delete_schedule(Name="again", GroupName=group)
        scheduler.create_schedule(**request(2))
    until(lambda: sorted(inputs(machine)) == [1, 2], "the second start")


def test_a_schedule_that_was_put_off_or_disabled_does_not_fire(
    client: Any, group: str, machine: str, starter: str, inputs: Any
) -> None:
    scheduler, moment = client("scheduler"), soon()
    request = {
        "GroupName": group,
        "ScheduleExpression": at(moment),
        "FlexibleTimeWindow": OFF,
        "Target": {"Arn": machine, "RoleArn": starter},
    }
    scheduler.create_schedule(Name="put-off", **request)
    scheduler.create_schedule(Name="disabled", State="DISABLED", ActionAfterCompletion="DELETE", **request)
    later = at(moment + timedelta(hours=1))
    scheduler.update_schedule(Name="put-off", **{**request, "ScheduleExpression": later})
    time.sleep(3.5)
    assert inputs(machine) == []
    assert sorted(names(client, group)) == ["disabled", "put-off"]
    assert scheduler.get_schedule(Name="put-off", GroupName=group)["ScheduleExpression"] == later


RECORDS = """
    import boto3, json, os
    def handler(event, context):
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
"""


def test_a_rate_begins_at_once_and_a_function_is_told_the_time(
    lab: Any, client: Any, until: Any, group: str
) -> None:
    queue = client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
    send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    function = lab.function(
        RECORDS,
        role=lab.role("lambda.amazonaws.com", send),
        Environment={"Variables": {"QUEUE": queue}},
    )
    invoke = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": function}
    made = client("scheduler").create_schedule(
        Name="sweep",
        GroupName=group,
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow=OFF,
        Target={"Arn": function, "RoleArn": lab.role("scheduler.amazonaws.com", invoke)},
    )
    # The function's own policy names nobody: the schedule's role is what counts.
    found = until(lambda: client("sqs").receive_message(QueueUrl=queue).get("Messages"), "the function")
    event = json.loads(found[0]["Body"])
    assert (event["source"], event["detail-type"]) == ("aws.scheduler", "Scheduled Event")
    assert event["resources"] == [made["ScheduleArn"]]
    assert datetime.now(UTC) - datetime.fromisoformat(event["time"]) < timedelta(seconds=10)


# --- who may, and what is refused ---


def test_a_role_that_may_not_start_the_machine_starts_nothing(
    lab: Any, client: Any, until: Any, cloud: Any, group: str, machine: str, inputs: Any
) -> None:
    client("scheduler").create_schedule(
        Name="powerless",
        GroupName=group,
        ScheduleExpression=at(soon()),
        FlexibleTimeWindow=OFF,
        ActionAfterCompletion="DELETE",
        Target={"Arn": machine, "RoleArn": lab.role("scheduler.amazonaws.com")},
    )
    log = cloud.state_dir / "server.log"
    until(
        lambda: f"states:StartExecution on resource: {machine}" in log.read_text(), "the refusal in the log"
    )
    assert inputs(machine) == []


def test_a_schedule_is_made_by_who_may_pass_its_role_to_the_scheduler(
    lab: Any, group: str, machine: str, starter: str, cloud: Any
) -> None:
    create = {
        "Effect": "Allow",
        "Action": ["scheduler:CreateSchedule", "scheduler:DeleteSchedule"],
        "Resource": f"arn:aws:scheduler:{cloud.region}:{cloud.account}:schedule/{group}/*",
    }
    request = {
        "Name": "mine",
        "GroupName": group,
        "ScheduleExpression": NEVER,
        "FlexibleTimeWindow": OFF,
        "Target": {"Arn": machine, "RoleArn": starter},
    }

    def passing(to: str) -> dict[str, Any]:
        condition = {"StringEquals": {"iam:PassedToService": to}}
        return {"Effect": "Allow", "Action": "iam:PassRole", "Resource": starter, "Condition": condition}

    for statements in ((create,), (create, passing("states.amazonaws.com"))):
        with pytest.raises(ClientError, match=f"perform: iam:PassRole on resource: {starter}") as denied:
            lab.client_as("scheduler", *statements).create_schedule(**request)
        assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    scheduler = lab.client_as("scheduler", create, passing("scheduler.amazonaws.com"))
    scheduler.create_schedule(**request)
    with pytest.raises(ClientError, match="not authorized to perform: scheduler:CreateSchedule"):
        scheduler.create_schedule(**{**request, "GroupName": "default"})
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
def test_what_would_never_fire_is_refused(
    lab: Any, client: Any, group: str, machine: str, changed: dict[str, str], message: str
) -> None:
    trusted = lab.role(changed.pop("Role", "scheduler.amazonaws.com"))
    target = {"Arn": changed.pop("Target", machine), "RoleArn": trusted}
    request = {"Name": "never", "GroupName": group, "ScheduleExpression": NEVER, "FlexibleTimeWindow": OFF}
    with pytest.raises(client("scheduler").exceptions.ValidationException, match=message):
        client("scheduler").create_schedule(**{**request, "Target": target, **changed})


def test_names_are_taken_once_and_end_with_their_group(client: Any, machine: str, starter: str) -> None:
    scheduler, group = client("scheduler"), f"group-{uuid.uuid4().hex[:12]}"
    request = {
        "Name": "one",
        "GroupName": group,
        "ScheduleExpression": NEVER,
        "FlexibleTimeWindow": OFF,
        "Target": {"Arn": machine, "RoleArn": starter},
    }
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.create_schedule(**request)
    scheduler.create_schedule_group(Name=group)
    scheduler.create_schedule(**request)
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule(**request)
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule_group(Name=group)
    scheduler.delete_schedule_group(Name=group)
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="one", GroupName=group)
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.update_schedule(**request)
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.delete_schedule(Name="one", GroupName=group)
