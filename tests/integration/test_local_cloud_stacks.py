"""Stacks in the local cloud: custom resources, the order of deletion, and what a stack makes."""

import json
import textwrap
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

Template = Mapping[str, Any]

# Tells a queue of each request, with what it finds of the bucket, and answers it as an object `answer` says.
PROVIDER = """
    import boto3, json, os, time, urllib.request

    s3 = boto3.client("s3")

    def handler(event, context):
        found = s3.list_objects_v2(Bucket=os.environ["BUCKET"]).get("KeyCount")
        told = {"attempt": attempt(event), "objects": found, **event}
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(told))
        say = json.loads(s3.get_object(Bucket=os.environ["SAYS"], Key="answer")["Body"].read())
        if say.get("raise", 0) >= told["attempt"]:
            raise RuntimeError("not this time")
        time.sleep(say.get("sleep", 0))
        answer(event, say.get(event["RequestType"], {}))

    attempts = {}

    def attempt(event):
        attempts[event["RequestId"]] = attempts.get(event["RequestId"], 0) + 1
        return attempts[event["RequestId"]]

    def answer(event, more):
        said = {
            "Status": "SUCCESS",
            "PhysicalResourceId": event.get("PhysicalResourceId", "sweep-1"),
            **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
            **more,
        }
        body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
        request = urllib.request.Request(event["ResponseURL"], data=body, method="PUT")
        request.add_header("Content-Type", "")
        urllib.request.urlopen(request).close()
"""


class Stacks:
    """Makes stacks of throw-away names, and tells how their operations ended."""

    def __init__(self, client: Callable[..., Any], until: Callable[..., Any]) -> None:
        self._formation = client("cloudformation")
        self._until = until
        self.made: list[str] = []

    def create(self, template: Template) -> tuple[str, str]:
        """Make a stack; its id and the status its creation ends in."""
        made = self._formation.create_stack(
            StackName=f"stack-{uuid.uuid4().hex[:12]}",
            TemplateBody=json.dumps(template),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        self.made.append(made["StackId"])
        return made["StackId"], self._end(made["StackId"])

    def update(self, stack: str, template: Template) -> str:
        """Update a stack; the status in which that ends."""
        self._formation.update_stack(
            StackName=stack, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"]
        )
        return self._end(stack)

    def delete(self, stack: str) -> str:
        """Delete a stack; the status in which that ends."""
        self._formation.delete_stack(StackName=stack)
        return self._end(stack)

    def outputs(self, stack: str) -> dict[str, str]:
        described = self._formation.describe_stacks(StackName=stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}

    def resources(self, stack: str) -> dict[str, str]:
        """The physical id of each resource that there is, by its name in the template."""
        found = self._formation.list_stack_resources(StackName=stack)["StackResourceSummaries"]
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for one in found
            if one["ResourceStatus"] != "DELETE_COMPLETE"
        }

    def reasons(self, stack: str, status: str) -> dict[str, str]:
        """Why resources came to have this status, by their names in the template."""
        events = self._formation.describe_stack_events(StackName=stack)["StackEvents"]
        return {
            one["LogicalResourceId"]: one.get("ResourceStatusReason", "")
            for one in events
            if one["ResourceStatus"] == status
        }

    def _end(self, stack: str) -> str:
        def status() -> Any:
            now = self._formation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
            return None if now.endswith("IN_PROGRESS") else now

        return str(self._until(status, f"{stack} to come to rest"))


@pytest.fixture
def stacks(client: Callable[..., Any], until: Callable[..., Any]) -> Iterator[Stacks]:
    made = Stacks(client, until)
    yield made
    for stack in made.made:
        made.delete(stack)


class Provider:
    """A template with a custom resource, and what its function is told and answers."""

    def __init__(self, client: Callable[..., Any], until: Callable[..., Any]) -> None:
        self._s3, self._sqs, self._until = client("s3"), client("sqs"), until
        self._queue = self._sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
        self._says = f"says-{uuid.uuid4().hex[:12]}"
        self._s3.create_bucket(Bucket=self._says)
        self.says()

    def says(self, **said: Any) -> None:
        """How the function answers from now on, beside what it answers by itself."""
        self._s3.put_object(Bucket=self._says, Key="answer", Body=json.dumps(said))

    def told(self) -> dict[str, Any]:
        """The next request that the function was invoked with."""
        found = self._until(
            lambda: self._sqs.receive_message(QueueUrl=self._queue).get("Messages"), "a request"
        )
        self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=found[0]["ReceiptHandle"])
        return dict(json.loads(found[0]["Body"]))

    def template(self, **properties: Any) -> dict[str, Any]:
        """Names in reverse: nothing here is deleted in the right order by chance."""
        allow = {"Effect": "Allow", "Action": ["s3:*", "sqs:SendMessage"], "Resource": "*"}
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        environment = {"BUCKET": {"Ref": "Used"}, "QUEUE": self._queue, "SAYS": self._says}
        return {
            "Resources": {
                "Zrole": {
                    "Type": "AWS::IAM::Role",
                    "Properties": {"AssumeRolePolicyDocument": document(trust)},
                },
                "Zpolicy": {
                    "Type": "AWS::IAM::Policy",
                    "Properties": {
                        "PolicyName": "everything",
                        "PolicyDocument": document(allow),
                        "Roles": [{"Ref": "Zrole"}],
                    },
                },
                "Used": {"Type": "AWS::S3::Bucket"},
                "Function": {
                    "Type": "AWS::Lambda::Function",
                    "Properties": {
                        "Runtime": "python3.12",
                        "Handler": "index.handler",
                        "Timeout": 30,
                        "Role": {"Fn::GetAtt": ["Zrole", "Arn"]},
                        "Code": {"ZipFile": textwrap.dedent(PROVIDER)},
                        "Environment": {"Variables": environment},
                    },
                },
                "Sweep": {
                    "Type": "Custom::Sweep",
                    "DependsOn": ["Zpolicy"],
                    "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}, **properties},
                },
            },
            "Outputs": {
                "Id": {"Value": {"Ref": "Sweep"}},
                "Found": {"Value": {"Fn::GetAtt": ["Sweep", "Found"]}},
            },
        }


def document(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.fixture
def provider(client: Callable[..., Any], until: Callable[..., Any]) -> Provider:
    return Provider(client, until)


# --- custom resources ---


def test_a_custom_resource_is_made_changed_and_deleted_by_its_function(
    stacks: Stacks, provider: Provider
) -> None:
    provider.says(Create={"Data": {"Found": "nothing"}}, Update={"Data": {"Found": "more"}})
    stack, status = stacks.create(provider.template(Days=3, Deep={"Really": True}))
    assert status == "CREATE_COMPLETE"
    assert stacks.outputs(stack)["Id"] == "sweep-1"
    assert stacks.outputs(stack)["Found"] == "nothing"
    create = provider.told()
    assert (create["RequestType"], create["ResourceType"]) == ("Create", "Custom::Sweep")
    assert (create["StackId"], create["LogicalResourceId"]) == (stack, "Sweep")
    given = create["ResourceProperties"]
    assert (given["Days"], given["Deep"]) == ("3", {"Really": "true"})

    assert stacks.update(stack, provider.template(Days=4)) == "UPDATE_COMPLETE"
    assert stacks.outputs(stack)["Found"] == "more"
    update = provider.told()
    assert (update["RequestType"], update["PhysicalResourceId"]) == ("Update", "sweep-1")
    assert (update["ResourceProperties"]["Days"], update["OldResourceProperties"]["Days"]) == ("4", "3")

    assert stacks.delete(stack) == "DELETE_COMPLETE"
    delete = provider.told()
    assert (delete["RequestType"], delete["PhysicalResourceId"]) == ("Delete", "sweep-1")
    # Its role still allowed it to look, and what it depends on was still there.
    assert delete["objects"] == 0


def test_another_physical_id_replaces_a_custom_resource(stacks: Stacks, provider: Provider) -> None:
    provider.says(
        Create={"Data": {"Found": ""}}, Update={"PhysicalResourceId": "sweep-2", "Data": {"Found": ""}}
    )
    stack, _ = stacks.create(provider.template(Days=3))
    assert stacks.update(stack, provider.template(Days=4)) == "UPDATE_COMPLETE"
    assert stacks.outputs(stack)["Id"] == "sweep-2"
    told = [provider.told() for _ in range(3)]
    assert [(one["RequestType"], one.get("PhysicalResourceId")) for one in told] == [
        ("Create", None),
        ("Update", "sweep-1"),
        ("Delete", "sweep-1"),
    ]


def test_a_failed_deletion_keeps_the_stack_and_what_the_resource_needs_until_it_succeeds(
    stacks: Stacks, provider: Provider
) -> None:
    provider.says(
        Create={"Data": {"Found": ""}}, Delete={"Status": "FAILED", "Reason": "an endpoint would not go"}
    )
    stack, _ = stacks.create(provider.template())
    made = stacks.resources(stack)
    assert stacks.delete(stack) == "DELETE_FAILED"
    assert stacks.reasons(stack, "DELETE_FAILED")["Sweep"] == "an endpoint would not go"
    assert stacks.resources(stack) == made
    provider.says()
    assert stacks.delete(stack) == "DELETE_COMPLETE"
    assert [provider.told()["RequestType"] for _ in range(3)] == ["Create", "Delete", "Delete"]


def test_a_failed_creation_is_rolled_back_by_its_function_too(stacks: Stacks, provider: Provider) -> None:
    failed = {"Status": "FAILED", "Reason": "no quota", "PhysicalResourceId": "sweep-9"}
    provider.says(Create=failed, Delete={})
    stack, status = stacks.create(provider.template())
    assert status == "ROLLBACK_COMPLETE"
    assert stacks.reasons(stack, "CREATE_FAILED")["Sweep"] == "no quota"
    told = [provider.told() for _ in range(2)]
    assert [(one["RequestType"], one.get("PhysicalResourceId")) for one in told] == [
        ("Create", None),
        ("Delete", "sweep-9"),
    ]


def test_no_stack_waits_longer_than_the_service_timeout(stacks: Stacks, provider: Provider) -> None:
    provider.says(Create={"Data": {"Found": ""}})
    stack, status = stacks.create(provider.template(ServiceTimeout=10))
    assert status == "CREATE_COMPLETE"
    provider.says(sleep=25)
    started = time.monotonic()
    assert stacks.delete(stack) == "DELETE_FAILED"
    assert 10 <= time.monotonic() - started < 20
    assert "did not receive a response" in stacks.reasons(stack, "DELETE_FAILED")["Sweep"]
    provider.says()
    assert stacks.delete(stack) == "DELETE_COMPLETE"


def test_a_function_that_raises_is_asked_again(stacks: Stacks, provider: Provider) -> None:
    provider.says(**{"raise": 2}, Create={"Data": {"Found": ""}})
    _, status = stacks.create(provider.template(ServiceTimeout=30))
    assert status == "CREATE_COMPLETE"
    assert [provider.told()["attempt"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("name", ["Status", "PhysicalResourceId", "RequestId"])
def test_an_answer_that_aws_would_not_take_fails(stacks: Stacks, provider: Provider, name: str) -> None:
    provider.says(Create={name: None, "Data": {"Found": ""}})
    stack, status = stacks.create(provider.template())
    assert status == "ROLLBACK_COMPLETE"
    assert name in stacks.reasons(stack, "CREATE_FAILED")["Sweep"]


def test_only_an_answer_that_is_waited_for_passes_without_a_signature(
    stacks: Stacks, provider: Provider, cloud: Any
) -> None:
    provider.says(Create={"Data": {"Found": ""}})
    stacks.create(provider.template())
    answered = provider.told()["ResponseURL"]
    address = f"{cloud.endpoint_url}/_ministack/cfn-"
    for method, url in (
        ("PUT", answered),
        ("PUT", f"{address}response/{uuid.uuid4()}"),
        ("PUT", f"{address}signal/{uuid.uuid4()}"),
        ("PUT", f"{address}response/"),
        ("GET", answered),
        ("POST", answered),
    ):
        request = urllib.request.Request(url, data=b"{}" if method != "GET" else None, method=method)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 403


# --- schedules and rules ---


def scheduled(function: str, when: str) -> Template:
    """A state machine and a function that are called at times."""
    echo = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}

    def role(service: str, action: str) -> dict[str, Any]:
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        allow = {
            "PolicyName": "all",
            "PolicyDocument": document({"Effect": "Allow", "Action": action, "Resource": "*"}),
        }
        properties = {"AssumeRolePolicyDocument": document(trust), "Policies": [allow]}
        return {"Type": "AWS::IAM::Role", "Properties": properties}

    return {
        "Resources": {
            "MachineRole": role("states.amazonaws.com", "lambda:InvokeFunction"),
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": {"Fn::GetAtt": ["MachineRole", "Arn"]},
                    "DefinitionString": json.dumps(echo),
                },
            },
            "Starter": role("scheduler.amazonaws.com", "states:StartExecution"),
            "Group": {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {}},
            "Schedule": {
                "Type": "AWS::Scheduler::Schedule",
                "Properties": {
                    "GroupName": {"Ref": "Group"},
                    "ScheduleExpression": when,
                    "ScheduleExpressionTimezone": "Europe/Berlin",
                    "ActionAfterCompletion": "DELETE",
                    "EndDate": "2099-01-01T00:00:00Z",
                    "FlexibleTimeWindow": {"Mode": "OFF"},
                    "Target": {
                        "Arn": {"Ref": "Machine"},
                        "RoleArn": {"Fn::GetAtt": ["Starter", "Arn"]},
                        "Input": '{"sweep": true}',
                    },
                },
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "ScheduleExpression": "cron(* * * * ? *)",
                    "Targets": [{"Id": "function", "Arn": function, "Input": '{"sweep": true}'}],
                },
            },
            "Permission": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "FunctionName": function,
                    "Action": "lambda:InvokeFunction",
                    "Principal": "events.amazonaws.com",
                    "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
                },
            },
        },
        "Outputs": {
            "Machine": {"Value": {"Ref": "Machine"}},
            "Group": {"Value": {"Ref": "Group"}},
            "Schedule": {"Value": {"Ref": "Schedule"}},
            "ScheduleArn": {"Value": {"Fn::GetAtt": ["Schedule", "Arn"]}},
        },
    }


def test_a_stacks_schedules_and_rules_fire_and_are_gone_with_it(
    stacks: Stacks, lab: Any, client: Callable[..., Any], until: Callable[..., Any]
) -> None:
    scheduler, states, sqs = client("scheduler"), client("stepfunctions"), client("sqs")
    queue = sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
    send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    source = f"""
        import boto3, json
        def handler(event, context):
            boto3.client("sqs").send_message(QueueUrl={queue!r}, MessageBody=json.dumps(event))
    """
    function = lab.function(source, role=lab.role("lambda.amazonaws.com", send))
    stack, status = stacks.create(scheduled(function, "rate(1 day)"))
    assert status == "CREATE_COMPLETE"
    made = stacks.outputs(stack)
    named = {"Name": made["Schedule"], "GroupName": made["Group"]}
    until(
        lambda: states.list_executions(stateMachineArn=made["Machine"])["executions"], "the schedule to fire"
    )
    found = scheduler.get_schedule(**named)
    assert made["ScheduleArn"] == found["Arn"]
    assert (found["ScheduleExpressionTimezone"], found["ActionAfterCompletion"]) == (
        "Europe/Berlin",
        "DELETE",
    )
    assert found["EndDate"].year == 2099

    assert stacks.update(stack, scheduled(function, "rate(2 days)")) == "UPDATE_COMPLETE"
    assert scheduler.get_schedule(**named)["ScheduleExpression"] == "rate(2 days)"
    # The rule's minute has come round by then.
    told = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "the rule to fire")
    assert json.loads(told[0]["Body"]) == {"sweep": True}

    assert stacks.delete(stack) == "DELETE_COMPLETE"
    assert made["Group"] not in [one["Name"] for one in scheduler.list_schedule_groups()["ScheduleGroups"]]
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(**named)


def test_a_schedule_of_a_taken_name_fails_the_stack_and_is_left_alone(
    stacks: Stacks, client: Callable[..., Any]
) -> None:
    scheduler, name = client("scheduler"), f"group-{uuid.uuid4().hex[:12]}"
    scheduler.create_schedule_group(Name=name)
    group = {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": name}}
    _, status = stacks.create({"Resources": {"Group": group}})
    assert status == "ROLLBACK_COMPLETE"
    assert scheduler.get_schedule_group(Name=name)["State"] == "ACTIVE"
    scheduler.delete_schedule_group(Name=name)


# --- alarms and dashboards ---


def watched(threshold: int, title: str) -> Template:
    body = {"widgets": [{"type": "text", "properties": {"markdown": title}}]}
    return {
        "Resources": {
            "Topic": {"Type": "AWS::SNS::Topic"},
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "AlarmActions": [{"Ref": "Topic"}],
                    "ComparisonOperator": "GreaterThanThreshold",
                    "DatapointsToAlarm": 1,
                    "Dimensions": [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}],
                    "EvaluationPeriods": 2,
                    "MetricName": "Errors",
                    "Namespace": "Lexline/Stacks",
                    "Period": 60,
                    "Statistic": "Sum",
                    "Threshold": threshold,
                    "TreatMissingData": "notBreaching",
                },
            },
            "Dashboard": {
                "Type": "AWS::CloudWatch::Dashboard",
                "Properties": {
                    "DashboardName": {"Fn::Sub": "${AWS::StackName}"},
                    "DashboardBody": json.dumps(body),
                },
            },
        },
        "Outputs": {
            "Alarm": {"Value": {"Ref": "Alarm"}},
            "Dashboard": {"Value": {"Ref": "Dashboard"}},
            "Stack": {"Value": {"Ref": "AWS::StackName"}},
        },
    }


def test_a_stacks_alarm_goes_off_and_its_dashboard_shows(
    stacks: Stacks, client: Callable[..., Any], until: Callable[..., Any]
) -> None:
    cloudwatch = client("cloudwatch")
    stack, status = stacks.create(watched(3, "before"))
    assert status == "CREATE_COMPLETE"
    made = stacks.outputs(stack)

    def described() -> Any:
        return cloudwatch.describe_alarms(AlarmNames=[made["Alarm"]])["MetricAlarms"]

    dimension = {"Name": "Stack", "Value": made["Stack"]}
    datum = {"MetricName": "Errors", "Value": 2, "Dimensions": [dimension]}
    cloudwatch.put_metric_data(Namespace="Lexline/Stacks", MetricData=[datum])
    until(lambda: described()[0]["StateValue"] == "OK", "the alarm to see nothing wrong")
    assert stacks.update(stack, watched(1, "after")) == "UPDATE_COMPLETE"
    until(lambda: described()[0]["StateValue"] == "ALARM", "the alarm")
    shown = cloudwatch.get_dashboard(DashboardName=made["Dashboard"])["DashboardBody"]
    assert json.loads(shown)["widgets"][0]["properties"]["markdown"] == "after"
    assert stacks.delete(stack) == "DELETE_COMPLETE"
    assert described() == []
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound):
        cloudwatch.get_dashboard(DashboardName=made["Dashboard"])
