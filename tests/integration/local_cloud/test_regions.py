"""Regions: each regional service keeps the resources of its regions apart, and works in each of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.lab import Lab, allow, document, unique
from tests.waiting import wait_until

OTHER = "eu-west-1"
PASS = json.dumps({"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
TOPIC = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
KEY = {
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
ALARM = {
    "Namespace": "N",
    "MetricName": "M",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}

# For each service: create a resource with this name, and the operation that lists it.
RESOURCES: dict[str, tuple[Callable[[Any, str, Lab], Any], str]] = {
    "sagemaker": (
        lambda client, name, _: client.create_model_package_group(ModelPackageGroupName=name),
        "list_model_package_groups",
    ),
    "stepfunctions": (
        lambda client, name, lab: client.create_state_machine(
            name=name, definition=PASS, roleArn=lab.role("states.amazonaws.com")
        ),
        "list_state_machines",
    ),
    "cloudformation": (
        lambda client, name, _: client.create_stack(StackName=name, TemplateBody=json.dumps(TOPIC)),
        "list_stacks",
    ),
    "dynamodb": (lambda client, name, _: client.create_table(TableName=name, **KEY), "list_tables"),
    "sns": (lambda client, name, _: client.create_topic(Name=name), "list_topics"),
    "sqs": (lambda client, name, _: client.create_queue(QueueName=name), "list_queues"),
    "logs": (
        lambda client, name, _: client.create_log_group(logGroupName=name),
        "describe_log_groups",
    ),
    "cloudwatch": (
        lambda client, name, _: client.put_metric_alarm(AlarmName=name, **ALARM),
        "describe_alarms",
    ),
    "events": (
        lambda client, name, _: client.put_rule(Name=name, ScheduleExpression="rate(1 day)"),
        "list_rules",
    ),
    "scheduler": (
        lambda client, name, _: client.create_schedule_group(Name=name),
        "list_schedule_groups",
    ),
    "apigateway": (lambda client, name, _: client.create_rest_api(name=name), "get_rest_apis"),
    "secretsmanager": (
        lambda client, name, _: client.create_secret(Name=name, SecretString="s"),
        "list_secrets",
    ),
    "ssm": (
        lambda client, name, _: client.put_parameter(Name=name, Value="v", Type="String"),
        "describe_parameters",
    ),
}


@pytest.mark.parametrize("service", RESOURCES)
def test_a_region_does_not_list_another_regions_resources(lab: Lab, service: str) -> None:
    create, list_operation = RESOURCES[service]
    name = unique("regional")
    other, default = lab.client(service, region_name=OTHER), lab.client(service)
    create(other, name, lab)

    def listed(client: Any) -> bool:
        """Return whether the name is on any page of the list, which has the resources of other tests too."""
        if client.can_paginate(list_operation):
            return name in str(list(client.get_paginator(list_operation).paginate()))
        return name in str(getattr(client, list_operation)())

    assert (listed(other), listed(default)) == (True, False)
    # So the name is free in each other region.
    create(default, name, lab)
    assert listed(default)


def test_sagemakers_arns_and_events_have_the_region_of_the_request(lab: Lab) -> None:
    events, sqs = lab.client("events", region_name=OTHER), lab.client("sqs", region_name=OTHER)
    name = unique("registry")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:{OTHER}:{lab.cloud.account}:{name}"
    policy = allow("sqs:SendMessage", arn, Principal={"Service": "events.amazonaws.com"})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(document(policy))})
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])

    sagemaker = lab.client("sagemaker", region_name=OTHER)
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    container = {"Image": "pytorch-inference:2.6", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    package = sagemaker.create_model_package(
        ModelPackageGroupName=name, InferenceSpecification={"Containers": [container]}
    )["ModelPackageArn"]
    assert package == f"arn:aws:sagemaker:{OTHER}:{lab.cloud.account}:model-package/{name}/1"
    (message,) = wait_until(
        lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "the event of the model package"
    )
    event = json.loads(message["Body"])
    assert (event["region"], event["resources"]) == (OTHER, [package])


def test_a_schedule_starts_a_state_machine_of_its_region(lab: Lab) -> None:
    states, name = lab.client("stepfunctions", region_name=OTHER), unique("scheduled")
    machine = states.create_state_machine(
        name=name, definition=PASS, roleArn=lab.role("states.amazonaws.com")
    )["stateMachineArn"]
    lab.client("scheduler", region_name=OTHER).create_schedule(
        Name=name,
        ScheduleExpression="rate(1 minute)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": machine,
            "RoleArn": lab.role("scheduler.amazonaws.com", allow("states:StartExecution", machine)),
        },
    )
    wait_until(lambda: states.list_executions(stateMachineArn=machine)["executions"], "the execution")
    lab.client("scheduler", region_name=OTHER).delete_schedule(Name=name)


def test_an_alarm_is_evaluated_in_its_region(lab: Lab) -> None:
    cloudwatch, name = lab.client("cloudwatch", region_name=OTHER), unique("alarm")
    cloudwatch.put_metric_alarm(AlarmName=name, **{**ALARM, "Namespace": name}, TreatMissingData="breaching")

    def state() -> str:
        return str(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])

    # No data comes, so only the regular evaluation can change the state.
    wait_until(lambda: state() == "ALARM", "the alarm's state")
    cloudwatch.delete_alarms(AlarmNames=[name])
