"""Who may do what: every role is its own, and names what it may touch."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.unit.template.conftest import ACCOUNT, PROJECT, Template, listed, source, statements
from tests.unit.template.source_calls import asked_by

NO_RESOURCE_TO_NAME = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "cloudwatch:GetMetricStatistics",
    "sagemaker:ListTrainingJobs",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModels",
    "sagemaker:ListModelPackages",
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

ASKED_FOR_WITHOUT_A_NAME = {
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:DeleteAlarms",
}
"""Application Auto Scaling tries these as whoever registers a target, before it has an alarm to name.
https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html
"""

NEEDED_FOR = {
    "s3:HeadObject": {"s3:GetObject"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "s3:ListObjectVersions": {"s3:ListBucketVersions"},
    "s3:DeleteObjects": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "s3:CreateMultipartUpload": {"s3:PutObject"},
    "s3:UploadPart": {"s3:PutObject"},
    "s3:CompleteMultipartUpload": {"s3:PutObject"},
    "sagemaker:CreateTrainingJob": {"sagemaker:CreateTrainingJob", "sagemaker:AddTags", "iam:PassRole"},
    "sagemaker:CreateModel": {"sagemaker:CreateModel", "sagemaker:AddTags", "iam:PassRole"},
    "sagemaker:CreateEndpointConfig": {"sagemaker:CreateEndpointConfig", "sagemaker:AddTags"},
    # SageMaker ends the scaling of an endpoint for whoever deletes it.
    "sagemaker:DeleteEndpoint": {
        "sagemaker:DeleteEndpoint",
        "application-autoscaling:DeregisterScalableTarget",
    },
    "scheduler:CreateSchedule": {"scheduler:CreateSchedule", "iam:PassRole"},
    "application-autoscaling:RegisterScalableTarget": {
        "application-autoscaling:RegisterScalableTarget",
        "iam:CreateServiceLinkedRole",
        "sagemaker:DescribeEndpoint",
        "sagemaker:DescribeEndpointConfig",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
        *ASKED_FOR_WITHOUT_A_NAME,
    },
}
"""What an operation needs, where that is not one action of its own name."""

NEEDED_BESIDES = {
    # One of its deletions names a version.
    "PrepareFunction": {"s3:DeleteObjectVersion"},
    # Its update of the endpoint names alarms.
    "DeployFunction": {"cloudwatch:DescribeAlarms"},
}

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
    assert everywhere == NO_RESOURCE_TO_NAME | ASKED_FOR_WITHOUT_A_NAME


def test_who_scales_may_touch_alarms_without_a_name_and_nobody_else(template: Template) -> None:
    found = [
        name
        for name, each in documents(template)
        if "*" in each["Resource"] and ASKED_FOR_WITHOUT_A_NAME & set(each["Action"])
    ]
    # Deploy asks which alarms sound; Compensate lets an endpoint scale again that it has put back.
    assert found == ["DeployRole", "FinishRole", "CompensateRole"]


def test_no_action_is_a_pattern(template: Template) -> None:
    patterns = [
        (name, action) for name, each in documents(template) for action in each["Action"] if "*" in action
    ]
    assert patterns == []


def test_resources_name_service_and_account_and_begin_with_a_name_of_this_deployment(
    deployed_with: Callable[..., Template],
) -> None:
    # SageMaker's own group for all jobs of the account, targets whose ids are random, and alarms, which
    # CloudWatch describes only to who may see all.
    shared = ("log-group:/aws/sagemaker/TrainingJobs:", "scalable-target/", "alarm:")
    for _, each in documents(deployed_with(EndpointName="poems")):
        for resource in each["Resource"]:
            if resource == "*" or resource.startswith("<"):
                continue
            _, _, service, _, account, path = resource.split(":", 5)
            # The images are AWS's own, in its accounts.
            assert account == ACCOUNT or service == "ecr", resource
            beginning, pattern, _ = path.partition("*")
            named = any(f"{mark}{name}" in beginning for mark in "/:" for name in ("poems", "lexline"))
            assert not pattern or named or beginning in shared, resource


def test_no_statement_lets_other_services_resources_be_scaled(template: Template) -> None:
    for _, each in documents(template):
        if any(action.startswith("application-autoscaling:") for action in each["Action"]):
            assert each["Condition"] == {
                "StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}
            }


def test_the_bucket_and_the_table_are_the_stacks_own(template: Template) -> None:
    for _, each in documents(template):
        for service, owned in (("s3:", "<Bucket.Arn>"), ("dynamodb:", "<Table.Arn>")):
            if any(action.startswith(service) for action in each["Action"]):
                assert all(resource.startswith(owned) for resource in each["Resource"]), each


def test_a_function_writes_in_its_own_folder_of_the_bucket(template: Template) -> None:
    folders = {
        name: each["Resource"]
        for name, each in documents(template)
        if "s3:PutObject" in each["Action"] and name != "ExecutionRole"
    }
    assert folders == {
        "PrepareRole": ["<Bucket.Arn>/prepared/*"],
        "SourceRole": ["<Bucket.Arn>/code/*"],
        "ReportRole": ["<Bucket.Arn>/reports/*"],
    }


def test_only_at_the_stacks_end_may_uploads_be_touched(template: Template) -> None:
    reaching = {
        name
        for name, each in documents(template)
        if {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"} & set(each["Action"])
        and any(
            resource.startswith(("<Bucket.Arn>/uploads", "<Bucket.Arn>/*")) for resource in each["Resource"]
        )
    }
    assert reaching == {"StackDeletionRole"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_allows_what_its_functions_code_asks_for_and_nothing_else(
    template: Template, function: str
) -> None:
    """Read from the source, through the modules that the handler calls."""
    properties = source()["Resources"][function]["Properties"]
    asked = asked_by(PROJECT / properties["CodeUri"], properties["Handler"]).operations
    needed = {action for operation in asked for action in NEEDED_FOR.get(operation, {operation})}
    needed |= NEEDED_BESIDES.get(function, set())
    # What a clean-up lets scale again has scaled before, so that there is the service-linked role.
    needed -= {"iam:CreateServiceLinkedRole"} if function == "CompensateFunction" else set()
    if "EventInvokeConfig" in properties:
        needed.add("sqs:SendMessage")
    role = template.of("AWS::IAM::Role")[f"{function.removesuffix('Function')}Role"]
    allowed = {action for each in statements(role) for action in each["Action"]}
    assert {action for action in allowed if not action.startswith("logs:")} == needed


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_given_the_variables_its_code_reads_and_no_other(
    template: Template, function: str
) -> None:
    properties = source()["Resources"][function]["Properties"]
    read = asked_by(PROJECT / properties["CodeUri"], properties["Handler"]).variables
    variables = template.of("AWS::Lambda::Function")[function]["Environment"]["Variables"]
    given = {name for name in variables if not name.startswith("POWERTOOLS_")}
    # Lambda sets the region itself.
    assert given == read - {"AWS_REGION"}


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


@pytest.mark.parametrize("service", ["states", "events", "scheduler", "sagemaker"])
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


def test_a_role_is_passed_to_the_one_service_it_is_for(template: Template) -> None:
    passing = {name: each for name, each in documents(template) if "iam:PassRole" in each["Action"]}
    assert {name: each["Resource"] for name, each in passing.items()} == {
        "TrainRole": ["<ExecutionRole.Arn>"],
        "CreateModelRole": ["<ExecutionRole.Arn>"],
        "FinishRole": ["<ScheduleRole.Arn>"],
        "TeardownRole": ["<ScheduleRole.Arn>"],
    }
    for each in passing.values():
        service = "sagemaker" if each["Resource"] == ["<ExecutionRole.Arn>"] else "scheduler"
        assert each["Action"] == ["iam:PassRole"]
        assert each["Condition"] == {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}


def test_what_starts_the_machine_starts_this_one(template: Template) -> None:
    name = template.one("AWS::StepFunctions::StateMachine")["StateMachineName"]
    starting = {
        role: each["Resource"]
        for role, each in documents(template)
        if "states:StartExecution" in each["Action"]
    }
    assert starting.keys() == {
        "UploadRuleRole",
        "ScheduleRole",
        "AcquireRole",
        "ExecutionEndedRole",
        "SweepRole",
    }
    for resources in starting.values():
        (resource,) = resources
        assert resource == "<StateMachine>" or resource.endswith(f":stateMachine:{name}")


def test_who_may_publish_is_who_has_something_to_tell(template: Template) -> None:
    publishing = {
        name: each["Resource"] for name, each in documents(template) if "sns:Publish" in each["Action"]
    }
    roles = ("AcquireRole", "ReportRole", "SweepRole", "AlarmRole")
    assert publishing == {role: ["<Topic>"] for role in roles}


def test_the_state_machine_may_invoke_its_steps_and_nothing_else(template: Template) -> None:
    role = template.of("AWS::IAM::Role")["StateMachineRole"]
    invoked = [each["Resource"] for each in statements(role) if each["Action"] == ["lambda:InvokeFunction"]]
    steps = template.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"].values()
    assert sorted(*invoked) == sorted(steps)
    others = {"Api", "Callback", "ExecutionEnded", "Sweep", "Alarm", "StackDeletion"}
    assert {f"<{name}.Arn>" for name in FUNCTIONS} - {*steps} == {f"<{name}Function.Arn>" for name in others}


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


def test_the_execution_role_sees_the_alarms_of_an_update(template: Template) -> None:
    """SageMaker looks at them as this role: without it, every update would be refused or unwatched.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    watched = {
        name: each["Resource"]
        for name, each in documents(template)
        if each["Action"] == ["cloudwatch:DescribeAlarms"]
    }
    # Neither question is about one alarm: CloudWatch asks for the permission on all of them.
    alarms = ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:*"]
    assert watched == {"ExecutionRole": alarms, "DeployRole": ["*"]}
    names = template.of("AWS::Lambda::Function")["DeployFunction"]["Environment"]["Variables"]["ALARMS"]
    assert names == "<EndpointErrorsAlarm>,<EndpointLatencyAlarm>"


@pytest.mark.parametrize("module", ["functions/pipeline", "functions/api"])
def test_every_handler_is_there(template: Template, module: str) -> None:
    handlers: Mapping[str, Any] = {
        name: each["Properties"]["Handler"]
        for name, each in source()["Resources"].items()
        if each["Type"] == "AWS::Serverless::Function" and each["Properties"]["CodeUri"] == module
    }
    assert handlers
    for name, handler in handlers.items():
        file, _, attribute = handler.rpartition(".")
        text = (PROJECT / module / f"{file.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert f"\ndef {attribute}(" in text or f"\n{attribute} = " in text, name
