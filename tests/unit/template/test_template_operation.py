"""What an operator sees and is told: alarms, events put aside, the dashboard, traces and logs."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from contracts.report import Report
from tests.unit.template.conftest import PROJECT, Template, source

ALARMS = [name for name, each in source()["Resources"].items() if each["Type"] == "AWS::CloudWatch::Alarm"]
FUNCTIONS = [
    name for name, each in source()["Resources"].items() if each["Type"] == "AWS::Serverless::Function"
]


# --- alarms ---


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_is_wrong_and_is_quiet_while_nothing_happens(
    template: Template, name: str
) -> None:
    alarm = template.of("AWS::CloudWatch::Alarm")[name]
    assert alarm["AlarmDescription"].strip().endswith(".")
    assert alarm["AlarmName"].startswith("lexline-")
    assert alarm["TreatMissingData"] == "notBreaching"
    # A topic with AWS's own key takes nothing from CloudWatch: the rule tells on what the alarm says.
    assert not {"AlarmActions", "OKActions", "InsufficientDataActions"} & alarm.keys()


def test_alarms_look_at_this_deployment(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with(EndpointName="poems")
    looked_at = {
        (alarm["Namespace"], alarm["MetricName"]): {
            dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]
        }
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
    }
    variant = {"EndpointName": "poems", "VariantName": "AllTraffic"}
    api = template.one("AWS::ApiGateway::Stage")["StageName"]
    assert looked_at == {
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


def test_an_alarm_is_as_slow_as_the_smoke_test_allows(deployed_with: Callable[..., Template]) -> None:
    alarm = deployed_with(MaxLatencySeconds="7").of("AWS::CloudWatch::Alarm")["EndpointLatencyAlarm"]
    assert float(alarm["Threshold"]) == 7 * 1_000_000


def test_people_are_told_of_every_alarm_when_it_goes_off(template: Template) -> None:
    rule = template.of("AWS::Events::Rule")["AlarmRule"]
    assert rule["EventPattern"] == {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "resources": [f"<{name}.Arn>" for name in ALARMS],
        "detail": {"state": {"value": ["ALARM"]}},
    }
    assert [target["Arn"] for target in rule["Targets"]] == ["<AlarmFunction.Arn>"]


# --- events ---


def test_what_events_wake_puts_aside_what_it_fails_on(template: Template) -> None:
    woken = {
        target["Arn"].removesuffix(".Arn>").removeprefix("<")
        for rule in template.of("AWS::Events::Rule").values()
        for target in rule["Targets"]
        if target["Arn"] != "<StateMachine>"
    }
    aside = {
        each["FunctionName"].strip("<>"): each["DestinationConfig"]
        for each in template.of("AWS::Lambda::EventInvokeConfig").values()
    }
    assert aside == {name: {"OnFailure": {"Destination": "<FailedEvents.Arn>"}} for name in woken}
    assert woken == {"CallbackFunction", "ExecutionEndedFunction", "SweepFunction", "AlarmFunction"}


def test_each_rule_may_call_its_function(template: Template) -> None:
    permissions = {
        (each["FunctionName"], each["SourceArn"])
        for each in template.of("AWS::Lambda::Permission").values()
        if each["Principal"] == "events.amazonaws.com"
    }
    assert permissions == {
        (target["Arn"].replace(".Arn", ""), f"<{name}.Arn>")
        for name, rule in template.of("AWS::Events::Rule").items()
        for target in rule["Targets"]
        if target["Arn"] != "<StateMachine>"
    }


def test_events_put_aside_are_encrypted_and_kept_for_as_long_as_can_be(template: Template) -> None:
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
    """Every metric as namespace, name and dimensions, with its abbreviations written out."""
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


def test_the_dashboard_is_of_the_stack_and_its_region(template: Template) -> None:
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
    """The dimensions that the dashboard searches for a metric of the stack, by the metric."""
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


def test_the_dashboard_finds_what_functions_measure(template: Template) -> None:
    report = (PROJECT / "functions" / "pipeline" / "steps" / "report.py").read_text(encoding="utf-8")
    by_dataset = re.findall(r'\("(\w+)", MetricUnit\.', report)
    assert searched(template) == {"Errors": "service,step", **dict.fromkeys(by_dataset, "dataset,service")}


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_the_dashboard_shows_the_functions_whose_failure_fails_no_run(
    template: Template, metric: str
) -> None:
    shown = [words[3] for words in drawn(template) if words[:2] == ("AWS/Lambda", metric)]
    steps = template.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"].values()
    others = [
        function["FunctionName"]
        for name, function in template.of("AWS::Lambda::Function").items()
        if f"<{name}.Arn>" not in steps
    ]
    assert sorted(shown) == sorted(others)


def test_the_dashboard_is_free_of_charge(template: Template) -> None:
    """Up to three dashboards of up to 50 metrics are: https://aws.amazon.com/cloudwatch/pricing/"""
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


def test_a_request_is_traced_from_the_api_and_a_run_from_the_machine(template: Template) -> None:
    assert template.one("AWS::ApiGateway::Stage")["TracingEnabled"]
    assert template.one("AWS::StepFunctions::StateMachine")["TracingConfiguration"] == {"Enabled": True}
    for function in template.of("AWS::Lambda::Function").values():
        assert function["TracingConfig"] == {"Mode": "Active"}
    for name in FUNCTIONS:
        role = template.of("AWS::IAM::Role")[f"{name.removesuffix('Function')}Role"]
        assert role["ManagedPolicyArns"] == ["<TracingPolicy>"]


def test_metrics_of_two_stacks_are_kept_apart(template: Template) -> None:
    for name, function in template.of("AWS::Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        assert variables["POWERTOOLS_SERVICE_NAME"] == ("lexline-api" if name == "ApiFunction" else "lexline")
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "Lexline"
    assert source()["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == {
        "Ref": "AWS::StackName"
    }
