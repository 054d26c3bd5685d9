"""Who may do what: every role is its own, and names what it may touch."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.template.conftest import ACCOUNT, Template, listed, source, statements

NO_RESOURCE_TO_NAME = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}
"""The actions used here that take no resource but `*`, by AWS's service authorization reference."""

FUNCTIONS = [
    name for name, each in source()["Resources"].items() if each["Type"] == "AWS::Serverless::Function"
]


def documents(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """Every allowing statement of the template, with the name of what it belongs to."""
    found = [
        (name, each) for name, role in template.of("AWS::IAM::Role").items() for each in statements(role)
    ]
    for name, policy in template.of("AWS::IAM::ManagedPolicy").items():
        found += [(name, each) for each in listed(policy["PolicyDocument"])]
    return found


def trust(role: Mapping[str, Any]) -> dict[str, Any]:
    """The one statement that says who assumes the role."""
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    found: dict[str, Any] = statement
    return found


def test_only_actions_that_have_no_resource_are_allowed_on_everything(template: Template) -> None:
    everywhere = {
        action for _, each in documents(template) if "*" in each["Resource"] for action in each["Action"]
    }
    assert everywhere <= NO_RESOURCE_TO_NAME


def test_no_statement_mixes_actions_on_everything_with_others(template: Template) -> None:
    for name, each in documents(template):
        if "*" in each["Resource"]:
            assert set(each["Action"]) <= NO_RESOURCE_TO_NAME, name


def test_no_action_is_a_pattern(template: Template) -> None:
    patterns = [
        (name, action) for name, each in documents(template) for action in each["Action"] if "*" in action
    ]
    assert patterns == []


def test_resources_name_service_account_and_the_beginning_of_the_name(template: Template) -> None:
    for name, each in documents(template):
        for resource in each["Resource"]:
            if resource == "*" or resource.startswith("<"):
                continue
            _, _, service, _, account, path = resource.split(":", 5)
            assert service != "*", name
            # The images are AWS's own, in its accounts.
            assert account == ACCOUNT or service == "ecr", resource
            assert not path.startswith("*"), resource
            assert not path.partition("/")[2].startswith("*"), resource


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_role_of_its_own(template: Template, function: str) -> None:
    roles = Counter(each["Role"] for each in template.of("AWS::Lambda::Function").values())
    role = template.of("AWS::Lambda::Function")[function]["Role"]
    assert roles[role] == 1
    assert role == f"<{function.removesuffix('Function')}Role.Arn>"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_writes_to_its_own_log_group_only_and_cannot_make_one(
    template: Template, function: str
) -> None:
    part = function.removesuffix("Function")
    role = template.of("AWS::IAM::Role")[f"{part}Role"]
    logging = [
        each for each in statements(role) if any(action.startswith("logs:") for action in each["Action"])
    ]
    assert [(each["Action"], each["Resource"]) for each in logging] == [
        (["logs:CreateLogStream", "logs:PutLogEvents"], [f"<{part}Logs.Arn>"])
    ]
    group = template.of("AWS::Logs::LogGroup")[f"{part}Logs"]
    name = template.of("AWS::Lambda::Function")[function]["FunctionName"]
    assert group["LogGroupName"] == f"/aws/lambda/{name}"
    assert template.of("AWS::Lambda::Function")[function]["LoggingConfig"] == {"LogGroup": f"<{part}Logs>"}


def test_sam_adds_no_role_or_policy_of_its_own(template: Template) -> None:
    named = {name for name, each in source()["Resources"].items() if each["Type"] == "AWS::IAM::Role"}
    assert template.of("AWS::IAM::Role").keys() == named
    managed = {
        arn for role in template.of("AWS::IAM::Role").values() for arn in role.get("ManagedPolicyArns", [])
    }
    assert managed == {
        "<TracingPolicy>",
        # API Gateway's requirement for the one role per account that writes access logs.
        "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
    }


@pytest.mark.parametrize("service", ["states", "events", "sagemaker"])
def test_a_service_assumes_its_role_for_this_account_only(template: Template, service: str) -> None:
    trusts = [trust(role) for role in template.of("AWS::IAM::Role").values()]
    own = [each for each in trusts if each["Principal"] == {"Service": f"{service}.amazonaws.com"}]
    assert own
    for each in own:
        assert each["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_a_service_that_calls_a_function_is_known_by_the_arn_of_its_rule_or_api(template: Template) -> None:
    """The ARN names the account. EventBridge and API Gateway do not promise to send the account besides."""
    permissions = template.of("AWS::Lambda::Permission")
    assert permissions
    for permission in permissions.values():
        assert permission["SourceArn"]
        assert "SourceAccount" not in permission


def test_every_role_is_assumed_by_one_service(template: Template) -> None:
    for role in template.of("AWS::IAM::Role").values():
        assert list(trust(role)["Principal"]) == ["Service"]
        assert trust(role)["Action"] == "sts:AssumeRole"


def test_a_role_is_passed_to_sagemaker_only_and_only_the_execution_role(template: Template) -> None:
    passing = [(name, each) for name, each in documents(template) if "iam:PassRole" in each["Action"]]
    assert {name for name, _ in passing} == {"TrainingRole", "ModelRole"}
    for _, each in passing:
        assert each["Action"] == ["iam:PassRole"]
        assert each["Resource"] == ["<ExecutionRole.Arn>"]
        assert each["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_the_state_machine_may_invoke_its_steps_and_nothing_else(template: Template) -> None:
    role = template.of("AWS::IAM::Role")["StateMachineRole"]
    invoked = [each["Resource"] for each in statements(role) if each["Action"] == ["lambda:InvokeFunction"]]
    steps = {f"<{name}.Arn>" for name in FUNCTIONS} - {"<ApiFunction.Arn>", "<CallbackFunction.Arn>"}
    assert set(*invoked) == steps


@pytest.mark.parametrize(
    ("action", "folders"),
    [
        ("s3:GetObject", ["prepared", "code", "runs", "checkpoints"]),
        ("s3:PutObject", ["runs", "checkpoints"]),
        # SageMaker deletes from the bucket the checkpoint that its script deletes.
        ("s3:DeleteObject", ["checkpoints"]),
    ],
)
def test_the_execution_role_writes_only_what_runs_make(
    template: Template, action: str, folders: list[str]
) -> None:
    role = template.of("AWS::IAM::Role")["ExecutionRole"]
    resources = [
        resource for each in statements(role) if action in each["Action"] for resource in each["Resource"]
    ]
    assert resources == [f"<Bucket.Arn>/{folder}/*" for folder in folders]


def test_the_execution_role_lists_only_what_it_reads(template: Template) -> None:
    role = template.of("AWS::IAM::Role")["ExecutionRole"]
    (listing,) = [each for each in statements(role) if "s3:ListBucket" in each["Action"]]
    read = ["prepared/*", "code/*", "runs/*", "checkpoints/*"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": read}}


@pytest.mark.parametrize("module", ["functions/pipeline", "functions/api"])
def test_every_handler_is_there(template: Template, module: str) -> None:
    project = Path(__file__).resolve().parents[3]
    handlers: Mapping[str, Any] = {
        name: each["Properties"]["Handler"]
        for name, each in source()["Resources"].items()
        if each["Type"] == "AWS::Serverless::Function" and each["Properties"]["CodeUri"] == module
    }
    assert handlers
    for name, handler in handlers.items():
        file, _, attribute = handler.partition(".")
        text = (project / module / f"{file}.py").read_text(encoding="utf-8")
        assert f"\ndef {attribute}(" in text or f"\n{attribute} = " in text, name
