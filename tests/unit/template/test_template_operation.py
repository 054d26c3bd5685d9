"""Alarms, failed events, the dashboard, traces and logs."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from contracts.report import Report
from tests.unit.template.conftest import FUNCTIONS, PROJECT, Template, names_of, source, variables_of

ALARMS = names_of("AWS::CloudWatch::Alarm")


# --- alarms ---


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_has_a_description_and_is_silent_without_data(template: Template, name: str) -> None:
    alarm = template.of("AWS::CloudWatch::Alarm")[name]
    assert alarm["AlarmDescription"].strip().endswith(".")
    assert alarm["AlarmName"].startswith("lexline-")
    assert alarm["TreatMissingData"] == "notBreaching"
    # CloudWatch cannot publish to a topic with the AWS managed key. A function publishes the alarm.
    assert not {"AlarmActions", "OKActions", "InsufficientDataActions"} & alarm.keys()


def test_alarms_watch_this_deployment(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with(EndpointName="poems")
    watched = {
        (alarm["Namespace"], alarm["MetricName"]): {
            dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]
        }
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
    }
    variant = {"EndpointName": "poems", "VariantName": "AllTraffic"}
    api = template.one("AWS::ApiGateway::Stage")["StageName"]
    assert watched == {
        ("AWS/SageMaker", "Invocation5XXErrors"): variant,
        ("AWS/SageMaker", "ModelLatency"): variant,
        ("AWS/States", "ExecutionsFailed"): {"StateMachineArn": "<StateMachine>"},
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName": "<FailedEvents.QueueName>"},
        ("AWS/ApiGateway", "5XXError"): {"ApiName": api_name(template), "Stage": api},
    }


def api_name(template: Template) -> str:
    return str(source()["Resources"]["Api"]["Properties"]["Name"]["Fn::Sub"]).replace(
        "${AWS::StackName}", "lexline"
    )


def test_the_latency_alarm_has_the_limit_of_the_smoke_test(deployed_with: Callable[..., Template]) -> None:
    alarm = deployed_with(MaxLatencySeconds="7").of("AWS::CloudWatch::Alarm")["EndpointLatencyAlarm"]
    assert float(alarm["Threshold"]) == 7 * 1_000_000


def test_every_alarm_is_published(template: Template) -> None:
    rule = template.of("AWS::Events::Rule")["AlarmRule"]
    assert rule["EventPattern"] == {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "resources": [f"<{name}.Arn>" for name in ALARMS],
        "detail": {"state": {"value": ["ALARM"]}},
    }
    assert [target["Arn"] for target in rule["Targets"]] == ["<AlarmFunction.Arn>"]


# --- events ---


def invoked_by_rules(template: Template) -> set[tuple[str, str]]:
    """Every rule's function, and the rule's ARN."""
    return {
        (target["Arn"].replace(".Arn", ""), f"<{name}.Arn>")
        for name, rule in template.of("AWS::Events::Rule").items()
        for target in rule["Targets"]
        if target["Arn"] != "<StateMachine>"
    }


def test_an_event_that_a_function_fails_on_goes_to_the_queue(template: Template) -> None:
    queued = {
        each["FunctionName"]: each["DestinationConfig"]
        for each in template.of("AWS::Lambda::EventInvokeConfig").values()
    }
    functions = {function for function, _ in invoked_by_rules(template)}
    assert queued == {name: {"OnFailure": {"Destination": "<FailedEvents.Arn>"}} for name in functions}
    assert functions == {f"<{name}Function>" for name in ("Callback", "ExecutionEnded", "Sweep", "Alarm")}


def test_each_rule_may_invoke_its_function(template: Template) -> None:
    permissions = {
        (each["FunctionName"], each["SourceArn"])
        for each in template.of("AWS::Lambda::Permission").values()
        if each["Principal"] == "events.amazonaws.com"
    }
    assert permissions == invoked_by_rules(template)


def test_failed_events_are_encrypted_and_kept_for_the_maximum_time(template: Template) -> None:
    queue = template.one("AWS::SQS::Queue")
    assert queue["SqsManagedSseEnabled"]
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    policy = template.one("AWS::SQS::QueuePolicy")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# --- the dashboard ---


def widgets(template: Template) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(template.one("AWS::CloudWatch::Dashboard")["DashboardBody"])[
        "widgets"
    ]
    return found


def drawn(template: Template) -> Iterator[tuple[str, ...]]:
    """Every metric on the dashboard as namespace, name and dimensions, without abbreviations."""
    for widget in widgets(template):
        before: list[str] = []
        for given in widget["properties"]["metrics"]:
            words = [word for word in given if isinstance(word, str)]
            if not words:
                continue
            if words[0] == "...":
                words = before[: len(before) - len(words) + 1] + words[1:]
            words = [before[at] if word == "." else word for at, word in enumerate(words)]
            before = words
            yield tuple(words)


def test_the_dashboard_shows_the_stack_and_its_region(template: Template) -> None:
    assert template.one("AWS::CloudWatch::Dashboard")["DashboardName"] == "lexline"
    for widget in widgets(template):
        assert widget["properties"]["region"] == "eu-west-1"
        assert widget["properties"]["title"]
        assert widget["x"] + widget["width"] <= 24
    places = [(widget["x"], widget["y"]) for widget in widgets(template)]
    assert len(places) == len(set(places))


def test_the_dashboard_shows_every_outcome_of_a_run(template: Template) -> None:
    outcomes = get_args(Report.model_fields["status"].annotation)
    assert {words[1] for words in drawn(template) if words[0] == "Lexline"} == {
        f"Runs{outcome}" for outcome in outcomes
    }
    dimensions = {words[2:] for words in drawn(template) if words[0] == "Lexline"}
    assert dimensions == {("service", "lexline", "step", "report")}


def searched(template: Template) -> dict[str, str]:
    """By metric of the stack: the dimensions that the dashboard searches for."""
    expressions = [
        options["expression"]
        for widget in widgets(template)
        for given in widget["properties"]["metrics"]
        for options in given
        if isinstance(options, dict) and "expression" in options
    ]
    form = re.compile(
        r"SEARCH\('\{Lexline,([\w,]+)\} MetricName=\"(\w+)\" service=\"lexline\"', '(Sum|Average)', \d+\)"
    )
    matches = [form.fullmatch(expression) for expression in expressions]
    assert all(matches), expressions
    return {match[2]: match[1] for match in matches if match}


def test_the_dashboard_shows_every_metric_of_the_functions(template: Template) -> None:
    files = (PROJECT / "functions" / "pipeline").rglob("*.py")
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    by_dataset = re.findall(r'\("(\w+)", MetricUnit\.', code)
    assert by_dataset
    assert searched(template) == {"Errors": "service,step", **dict.fromkeys(by_dataset, "dataset,service")}


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_the_dashboard_shows_the_functions_that_are_not_steps(template: Template, metric: str) -> None:
    shown = [words[3] for words in drawn(template) if words[:2] == ("AWS/Lambda", metric)]
    steps = template.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"].values()
    others = [
        function["FunctionName"]
        for name, function in template.of("AWS::Lambda::Function").items()
        if f"<{name}.Arn>" not in steps
    ]
    assert sorted(shown) == sorted(others)


def test_the_dashboard_is_free_of_charge(template: Template) -> None:
    """Three dashboards with up to 50 metrics each are free: https://aws.amazon.com/cloudwatch/pricing/"""
    assert len([*drawn(template), *searched(template)]) < 45


def test_the_dashboard_shows_the_endpoint_and_the_api(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with(EndpointName="poems")
    shown = {
        (words[0], words[2:]) for words in drawn(template) if words[0] in ("AWS/SageMaker", "AWS/ApiGateway")
    }
    assert shown == {
        ("AWS/SageMaker", ("EndpointName", "poems", "VariantName", "AllTraffic")),
        ("AWS/ApiGateway", ("ApiName", api_name(template), "Stage", "v1")),
    }


# --- traces and logs ---


def test_requests_and_runs_are_traced(template: Template) -> None:
    assert template.one("AWS::ApiGateway::Stage")["TracingEnabled"]
    assert template.one("AWS::StepFunctions::StateMachine")["TracingConfiguration"] == {"Enabled": True}
    for function in template.of("AWS::Lambda::Function").values():
        assert function["TracingConfig"] == {"Mode": "Active"}
    for name in FUNCTIONS:
        role = template.of("AWS::IAM::Role")[f"{name.removesuffix('Function')}Role"]
        assert role["ManagedPolicyArns"] == ["<TracingPolicy>"]


def test_metrics_of_two_stacks_stay_apart(template: Template) -> None:
    for name in FUNCTIONS:
        variables = variables_of(template, name)
        assert variables["POWERTOOLS_SERVICE_NAME"] == ("lexline-api" if name == "ApiFunction" else "lexline")
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "Lexline"
