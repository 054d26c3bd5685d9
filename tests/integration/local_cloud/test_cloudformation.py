"""CloudFormation: conditions, custom resources, the order of deletion, and the resources of a stack."""

import json
import textwrap
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from localcloud.control import LocalCloud
from tests.integration.lab import RECORDS, Lab, allow, document, trust, unique
from tests.waiting import wait_until

Template = Mapping[str, Any]


class Stacks:
    """Creates, updates and deletes stacks, and waits for the ends of these operations."""

    def __init__(self, lab: Lab) -> None:
        self._formation = lab.client("cloudformation")
        self.created: list[str] = []

    def create(self, template: Template) -> tuple[str, str]:
        """Create a stack; return its id and its status."""
        created = self._formation.create_stack(
            StackName=unique("stack"),
            TemplateBody=json.dumps(template),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        self.created.append(created["StackId"])
        return created["StackId"], self._end(created["StackId"])

    def update(self, stack: str, template: Template) -> str:
        """Update a stack; return its status."""
        self._formation.update_stack(
            StackName=stack, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"]
        )
        return self._end(stack)

    def delete(self, stack: str) -> str:
        """Delete a stack; return its status."""
        self._formation.delete_stack(StackName=stack)
        return self._end(stack)

    def outputs(self, stack: str) -> dict[str, str]:
        return {
            output["OutputKey"]: output["OutputValue"] for output in self._describe(stack).get("Outputs", [])
        }

    def resources(self, stack: str) -> dict[str, str]:
        """The physical id of each remaining resource, by its name in the template."""
        listed = self._formation.list_stack_resources(StackName=stack)["StackResourceSummaries"]
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in listed
            if resource["ResourceStatus"] != "DELETE_COMPLETE"
        }

    def reason(self, stack: str, status: str, resource: str = "Sweep") -> str:
        """The reason for this status of a resource, by default of the custom resource."""
        events = self._formation.describe_stack_events(StackName=stack)["StackEvents"]
        return next(
            str(event["ResourceStatusReason"])
            for event in events
            if (event["LogicalResourceId"], event["ResourceStatus"]) == (resource, status)
        )

    def _describe(self, stack: str) -> dict[str, Any]:
        return dict(self._formation.describe_stacks(StackName=stack)["Stacks"][0])

    def _end(self, stack: str) -> str:
        def ended() -> bool:
            return not self._describe(stack)["StackStatus"].endswith("IN_PROGRESS")

        wait_until(ended, f"the end of the operation on {stack}")
        return str(self._describe(stack)["StackStatus"])


@pytest.fixture
def stacks(lab: Lab) -> Iterator[Stacks]:
    created = Stacks(lab)
    yield created
    for stack in created.created:
        created.delete(stack)


# --- conditions ---


@pytest.mark.parametrize(("origins", "one"), [("a", "yes"), ("a,b", "no"), ("", "yes")])
def test_a_condition_compares_composed_texts(stacks: Stacks, origins: str, one: str) -> None:
    joined = {"Fn::Join": ["", {"Fn::Split": [",", {"Ref": "Origins"}]}]}
    template = {
        "Parameters": {"Origins": {"Type": "String", "Default": origins}},
        "Conditions": {"One": {"Fn::Equals": [joined, {"Fn::Sub": "${Origins}"}]}},
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"One": {"Value": {"Fn::If": ["One", "yes", "no"]}}},
    }
    stack, status = stacks.create(template)
    assert (status, stacks.outputs(stack)) == ("CREATE_COMPLETE", {"One": one})


# --- custom resources ---

# Puts each request into a queue, with the number of the bucket's objects. The object `behavior` says how it
# responds.
PROVIDER = """
    import boto3, json, os, time, urllib.request

    s3 = boto3.client("s3")
    attempts = {}

    def handler(event, context):
        attempts[event["RequestId"]] = attempt = attempts.get(event["RequestId"], 0) + 1
        objects = s3.list_objects_v2(Bucket=os.environ["BUCKET"]).get("KeyCount")
        message = json.dumps({"attempt": attempt, "objects": objects, **event})
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=message)
        behavior = json.loads(s3.get_object(Bucket=os.environ["CONTROL"], Key="behavior")["Body"].read())
        if behavior.get("raise", 0) >= attempt:
            raise RuntimeError("not this time")
        time.sleep(behavior.get("sleep", 0))
        respond(event, behavior.get(event["RequestType"], {}))

    def respond(event, fields):
        response = {
            "Status": "SUCCESS",
            "PhysicalResourceId": event.get("PhysicalResourceId", "sweep-1"),
            **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
            "Data": {"Found": ""},
            **fields,
        }
        body = json.dumps({name: value for name, value in response.items() if value is not None}).encode()
        request = urllib.request.Request(event["ResponseURL"], data=body, method="PUT")
        request.add_header("Content-Type", "")
        urllib.request.urlopen(request).close()
"""


class Provider:
    """A template with a custom resource, and the behavior of its function."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._queue = lab.queue()
        self._control = unique("control")
        lab.client("s3").create_bucket(Bucket=self._control)
        self.behave()

    def behave(self, **behavior: Any) -> None:
        """Set the fields of its responses by the kind of request, "sleep" seconds, or to "raise" so often."""
        self._lab.client("s3").put_object(Bucket=self._control, Key="behavior", Body=json.dumps(behavior))

    def request(self) -> dict[str, Any]:
        """The next request to the function."""
        return dict(self._lab.receive(self._queue))

    def template(self, **properties: Any) -> dict[str, Any]:
        """The names are chosen so that the alphabetical order of deletion would be wrong."""
        environment = {"BUCKET": {"Ref": "Used"}, "QUEUE": self._queue, "CONTROL": self._control}
        resources = {
            "Zrole": (
                "AWS::IAM::Role",
                {"AssumeRolePolicyDocument": trust({"Service": "lambda.amazonaws.com"})},
            ),
            "Zpolicy": (
                "AWS::IAM::Policy",
                {
                    "PolicyName": "everything",
                    "PolicyDocument": document(allow(["s3:*", "sqs:SendMessage"])),
                    "Roles": [{"Ref": "Zrole"}],
                },
            ),
            "Used": ("AWS::S3::Bucket", {}),
            "Function": (
                "AWS::Lambda::Function",
                {
                    "Runtime": "python3.12",
                    "Handler": "index.handler",
                    "Timeout": 900,
                    "Role": {"Fn::GetAtt": ["Zrole", "Arn"]},
                    "Code": {"ZipFile": textwrap.dedent(PROVIDER)},
                    "Environment": {"Variables": environment},
                },
            ),
            "Sweep": ("Custom::Sweep", {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}, **properties}),
        }
        template = of_resources(resources, Id={"Ref": "Sweep"}, Found={"Fn::GetAtt": ["Sweep", "Found"]})
        template["Resources"]["Sweep"]["DependsOn"] = ["Zpolicy"]
        return template


def of_resources(resources: Mapping[str, tuple[str, Any]], **outputs: Any) -> dict[str, Any]:
    return {
        "Resources": {
            name: {"Type": kind, "Properties": properties} for name, (kind, properties) in resources.items()
        },
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }


@pytest.fixture
def provider(lab: Lab) -> Provider:
    return Provider(lab)


def test_a_function_creates_updates_and_deletes_a_custom_resource(stacks: Stacks, provider: Provider) -> None:
    provider.behave(Create={"Data": {"Found": "nothing"}}, Update={"Data": {"Found": "more"}})
    stack, status = stacks.create(provider.template(Days=3, Deep={"Really": True}))
    assert status == "CREATE_COMPLETE"
    assert stacks.outputs(stack) == {"Id": "sweep-1", "Found": "nothing"}
    create = provider.request()
    assert (create["RequestType"], create["ResourceType"]) == ("Create", "Custom::Sweep")
    assert (create["StackId"], create["LogicalResourceId"]) == (stack, "Sweep")
    properties = create["ResourceProperties"]
    assert (properties["Days"], properties["Deep"]) == ("3", {"Really": "true"})

    assert stacks.update(stack, provider.template(Days=4)) == "UPDATE_COMPLETE"
    assert stacks.outputs(stack)["Found"] == "more"
    update = provider.request()
    assert (update["RequestType"], update["PhysicalResourceId"]) == ("Update", "sweep-1")
    assert (update["ResourceProperties"]["Days"], update["OldResourceProperties"]["Days"]) == ("4", "3")

    assert stacks.delete(stack) == "DELETE_COMPLETE"
    delete = provider.request()
    assert (delete["RequestType"], delete["PhysicalResourceId"]) == ("Delete", "sweep-1")
    # The resource's dependencies still existed: the function could list the bucket with its role.
    assert delete["objects"] == 0


def requests(provider: Provider, count: int) -> list[tuple[str, str | None]]:
    received = [provider.request() for _ in range(count)]
    return [(request["RequestType"], request.get("PhysicalResourceId")) for request in received]


def test_another_physical_id_replaces_a_custom_resource(stacks: Stacks, provider: Provider) -> None:
    provider.behave(Update={"PhysicalResourceId": "sweep-2"})
    stack, _ = stacks.create(provider.template(Days=3))
    assert stacks.update(stack, provider.template(Days=4)) == "UPDATE_COMPLETE"
    assert stacks.outputs(stack)["Id"] == "sweep-2"
    assert requests(provider, 3) == [("Create", None), ("Update", "sweep-1"), ("Delete", "sweep-1")]


def test_a_failed_deletion_can_be_repeated(stacks: Stacks, provider: Provider) -> None:
    provider.behave(Delete={"Status": "FAILED", "Reason": "an endpoint is in use"})
    stack, _ = stacks.create(provider.template())
    resources = stacks.resources(stack)
    assert stacks.delete(stack) == "DELETE_FAILED"
    assert stacks.reason(stack, "DELETE_FAILED") == "an endpoint is in use"
    assert stacks.resources(stack) == resources
    provider.behave()
    assert stacks.delete(stack) == "DELETE_COMPLETE"
    assert [kind for kind, _ in requests(provider, 3)] == ["Create", "Delete", "Delete"]


def test_a_failed_creation_is_followed_by_a_delete_request(stacks: Stacks, provider: Provider) -> None:
    provider.behave(Create={"Status": "FAILED", "Reason": "no quota", "PhysicalResourceId": "sweep-9"})
    stack, status = stacks.create(provider.template())
    assert status == "ROLLBACK_COMPLETE"
    assert stacks.reason(stack, "CREATE_FAILED") == "no quota"
    assert requests(provider, 2) == [("Create", None), ("Delete", "sweep-9")]


def test_a_stack_waits_no_longer_than_the_service_timeout(stacks: Stacks, provider: Provider) -> None:
    # The function runs for longer than this test waits for a stack.
    provider.behave(sleep=800)
    stack, status = stacks.create(provider.template(ServiceTimeout=1))
    assert status == "ROLLBACK_COMPLETE"
    assert "did not receive a response" in stacks.reason(stack, "CREATE_FAILED")


def test_a_function_that_raises_is_invoked_again(stacks: Stacks, provider: Provider) -> None:
    provider.behave(**{"raise": 2})
    _, status = stacks.create(provider.template(ServiceTimeout=240))
    assert status == "CREATE_COMPLETE"
    assert [provider.request()["attempt"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("name", ["Status", "PhysicalResourceId", "RequestId"])
def test_a_response_that_aws_would_refuse_fails(stacks: Stacks, provider: Provider, name: str) -> None:
    provider.behave(Create={name: None})
    stack, status = stacks.create(provider.template())
    assert status == "ROLLBACK_COMPLETE"
    assert name in stacks.reason(stack, "CREATE_FAILED")


def test_only_an_expected_response_needs_no_signature(
    stacks: Stacks, provider: Provider, cloud: LocalCloud
) -> None:
    stacks.create(provider.template())
    used = provider.request()["ResponseURL"]
    address = f"{cloud.endpoint_url}/_ministack/cfn-"
    for method, url in (
        ("PUT", used),
        ("PUT", f"{address}response/{uuid.uuid4()}"),
        ("PUT", f"{address}signal/{uuid.uuid4()}"),
        ("PUT", f"{address}response/"),
        ("GET", used),
        ("POST", used),
    ):
        request = urllib.request.Request(url, data=b"{}" if method != "GET" else None, method=method)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 403


# --- schedules and rules ---


def scheduled(function: str, expression: str) -> Template:
    """A state machine and a function that are called by the clock."""
    echo = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}

    def role(service: str, action: str) -> tuple[str, dict[str, Any]]:
        policy = {"PolicyName": "all", "PolicyDocument": document(allow(action))}
        return "AWS::IAM::Role", {
            "AssumeRolePolicyDocument": trust({"Service": service}),
            "Policies": [policy],
        }

    resources = {
        "MachineRole": role("states.amazonaws.com", "lambda:InvokeFunction"),
        "Machine": (
            "AWS::StepFunctions::StateMachine",
            {"RoleArn": {"Fn::GetAtt": ["MachineRole", "Arn"]}, "DefinitionString": json.dumps(echo)},
        ),
        "Starter": role("scheduler.amazonaws.com", "states:StartExecution"),
        "Group": ("AWS::Scheduler::ScheduleGroup", {}),
        "Schedule": (
            "AWS::Scheduler::Schedule",
            {
                "GroupName": {"Ref": "Group"},
                "ScheduleExpression": expression,
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
        ),
        "Rule": (
            "AWS::Events::Rule",
            {
                "ScheduleExpression": "cron(* * * * ? *)",
                "Targets": [{"Id": "function", "Arn": function, "Input": '{"sweep": true}'}],
            },
        ),
        "Permission": (
            "AWS::Lambda::Permission",
            {
                "FunctionName": function,
                "Action": "lambda:InvokeFunction",
                "Principal": "events.amazonaws.com",
                "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
            },
        ),
    }
    outputs = {name: {"Ref": name} for name in ("Machine", "Group", "Schedule")}
    return of_resources(resources, **outputs, ScheduleArn={"Fn::GetAtt": ["Schedule", "Arn"]})


def test_a_stacks_schedules_and_rules_are_executed_and_deleted(stacks: Stacks, lab: Lab) -> None:
    scheduler = lab.client("scheduler")
    queue, function = lab.recorder(RECORDS)
    stack, status = stacks.create(scheduled(function, "rate(1 day)"))
    assert status == "CREATE_COMPLETE"
    outputs = stacks.outputs(stack)
    name = {"Name": outputs["Schedule"], "GroupName": outputs["Group"]}
    wait_until(lambda: lab.executions(outputs["Machine"]), "the schedule's execution")
    found = scheduler.get_schedule(**name)
    assert outputs["ScheduleArn"] == found["Arn"]
    assert found["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert found["ActionAfterCompletion"] == "DELETE"
    assert found["EndDate"].year == 2099

    assert stacks.update(stack, scheduled(function, "rate(2 days)")) == "UPDATE_COMPLETE"
    assert scheduler.get_schedule(**name)["ScheduleExpression"] == "rate(2 days)"
    # The rule is due every minute.
    assert lab.receive(queue) == {"sweep": True}

    assert stacks.delete(stack) == "DELETE_COMPLETE"
    groups = scheduler.list_schedule_groups()["ScheduleGroups"]
    assert outputs["Group"] not in [group["Name"] for group in groups]
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(**name)


def test_a_schedule_group_of_another_owner_fails_the_stack_and_stays(stacks: Stacks, lab: Lab) -> None:
    scheduler, name = lab.client("scheduler"), unique("group")
    scheduler.create_schedule_group(Name=name)
    _, status = stacks.create(of_resources({"Group": ("AWS::Scheduler::ScheduleGroup", {"Name": name})}))
    assert status == "ROLLBACK_COMPLETE"
    assert scheduler.get_schedule_group(Name=name)["State"] == "ACTIVE"
    scheduler.delete_schedule_group(Name=name)


# --- alarms and dashboards ---


def watched(threshold: int, title: str) -> Template:
    """An alarm, its topic and a dashboard. The period is long, so that no data is too old for this test."""
    body = {"widgets": [{"type": "text", "properties": {"markdown": title}}]}
    alarm = {
        "AlarmActions": [{"Ref": "Topic"}],
        "ComparisonOperator": "GreaterThanThreshold",
        "DatapointsToAlarm": 1,
        "Dimensions": [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}],
        "EvaluationPeriods": 2,
        "MetricName": "Errors",
        "Namespace": "Lexline/Stacks",
        "Period": 3600,
        "Statistic": "Sum",
        "Threshold": threshold,
        "TreatMissingData": "notBreaching",
    }
    dashboard = {"DashboardName": {"Ref": "AWS::StackName"}, "DashboardBody": json.dumps(body)}
    resources = {
        "Topic": ("AWS::SNS::Topic", {}),
        "Alarm": ("AWS::CloudWatch::Alarm", alarm),
        "Dashboard": ("AWS::CloudWatch::Dashboard", dashboard),
    }
    return of_resources(resources, Alarm={"Ref": "Alarm"}, Stack={"Ref": "AWS::StackName"})


def test_a_stack_has_alarms_and_dashboards(stacks: Stacks, lab: Lab) -> None:
    cloudwatch = lab.client("cloudwatch")
    stack, status = stacks.create(watched(3, "before"))
    assert status == "CREATE_COMPLETE"
    outputs = stacks.outputs(stack)

    def states() -> list[str]:
        alarms = cloudwatch.describe_alarms(AlarmNames=[outputs["Alarm"]])["MetricAlarms"]
        return [alarm["StateValue"] for alarm in alarms]

    dimension = {"Name": "Stack", "Value": outputs["Stack"]}
    datum = {"MetricName": "Errors", "Value": 2, "Dimensions": [dimension]}
    cloudwatch.put_metric_data(Namespace="Lexline/Stacks", MetricData=[datum])
    wait_until(lambda: states() == ["OK"], "the state without errors")
    assert stacks.update(stack, watched(1, "after")) == "UPDATE_COMPLETE"
    wait_until(lambda: states() == ["ALARM"], "the alarm")
    dashboard = cloudwatch.get_dashboard(DashboardName=outputs["Stack"])["DashboardBody"]
    assert json.loads(dashboard)["widgets"][0]["properties"]["markdown"] == "after"
    assert stacks.delete(stack) == "DELETE_COMPLETE"
    assert states() == []
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound):
        cloudwatch.get_dashboard(DashboardName=outputs["Stack"])


# --- functions ---


def test_a_functions_reserved_concurrency_is_the_templates(lab: Lab, stacks: Stacks) -> None:
    def template(**properties: int) -> Template:
        code = {"ZipFile": "def handler(event, context): pass"}
        role = lab.role("lambda.amazonaws.com")
        fixed = {"Runtime": "python3.12", "Handler": "index.handler", "Role": role, "Code": code}
        function = {"Type": "AWS::Lambda::Function", "Properties": {**fixed, **properties}}
        return {"Resources": {"Function": function}}

    stack, status = stacks.create(template(ReservedConcurrentExecutions=3))
    assert status == "CREATE_COMPLETE"
    name = stacks.resources(stack)["Function"]
    for expected, changed in ((3, template(ReservedConcurrentExecutions=0)), (0, template()), (None, None)):
        found = lab.functions.get_function_concurrency(FunctionName=name)
        assert found.get("ReservedConcurrentExecutions") == expected
        if changed:
            stacks.update(stack, changed)


# --- buckets ---


# The names that a stack's capitals and a long stack's name would give its bucket.
@pytest.mark.parametrize("name", ["Lexline-000000000000-us-east-1", f"{'a' * 45}-000000000000-us-east-1"])
def test_a_stack_cannot_create_a_bucket_that_s3_refuses(stacks: Stacks, name: str) -> None:
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}
    stack, status = stacks.create({"Resources": {"Bucket": bucket}})
    assert status == "ROLLBACK_COMPLETE"
    assert "Error Code: InvalidBucketName" in stacks.reason(stack, "CREATE_FAILED", "Bucket")
