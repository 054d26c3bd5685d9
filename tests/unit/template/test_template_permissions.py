"""Every function has a role of its own, which allows what the code calls, on resources of this deployment."""

import collections
import fnmatch
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.unit.template.conftest import (
    ACCOUNT,
    FUNCTIONS,
    REGION,
    Template,
    handler_of,
    listed,
    names_of,
    statements,
    variables_of,
)
from tests.unit.template.source_calls import calls_of

WITHOUT_RESOURCE = {
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

ON_ANY_ALARM = {"cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"}
"""Application Auto Scaling tries these with the role that registers a target, before the alarm exists.
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
    "sagemaker:CreateEndpoint": {"sagemaker:CreateEndpoint", "sagemaker:AddTags"},
    "sagemaker:CreateModelPackageGroup": {"sagemaker:CreateModelPackageGroup", "sagemaker:AddTags"},
    # SageMaker ends the scaling of an endpoint on behalf of the caller that deletes it.
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
        *ON_ANY_ALARM,
    },
}
"""The actions that an operation needs, if they differ from its name."""

NEEDED_BESIDES = {
    # Its update of the endpoint names alarms, which SageMaker checks.
    "DeployFunction": {"cloudwatch:DescribeAlarms"},
    # SageMaker may look at the artifact and at the image of a version as the caller of CreateModelPackage.
    "RegisterFunction": {"s3:GetObject", "ecr:BatchGetImage"},
}


def documents(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """Every allowing statement of the template, with the name of its role or policy."""
    found = [
        (name, each) for name, role in template.of("AWS::IAM::Role").items() for each in statements(role)
    ]
    for name, policy in template.of("AWS::IAM::ManagedPolicy").items():
        found += [(name, each) for each in listed(policy["PolicyDocument"])]
    return found


def allowed(template: Template, action: str) -> dict[str, list[str]]:
    """By role: the resources on which it allows an action."""
    return {name: each["Resource"] for name, each in documents(template) if action in each["Action"]}


def trust(role: Mapping[str, Any]) -> dict[str, Any]:
    """The one statement that says who assumes the role."""
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    found: dict[str, Any] = statement
    return found


def test_only_actions_that_have_no_resource_are_allowed_on_everything(template: Template) -> None:
    everywhere = {
        action for _, each in documents(template) if "*" in each["Resource"] for action in each["Action"]
    }
    assert everywhere == WITHOUT_RESOURCE | ON_ANY_ALARM


def test_only_roles_that_scale_or_watch_may_use_any_alarm(template: Template) -> None:
    found = [
        name
        for name, each in documents(template)
        if "*" in each["Resource"] and ON_ANY_ALARM & set(each["Action"])
    ]
    # Deploy asks which alarms are in alarm. Finish and Compensate let an endpoint scale.
    assert found == ["DeployRole", "FinishRole", "CompensateRole"]


def test_no_action_is_a_pattern(template: Template) -> None:
    patterns = [
        (name, action) for name, each in documents(template) for action in each["Action"] if "*" in action
    ]
    assert patterns == []


STACK_ID = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lexline/5a2b1c3d"
OWN = {"StringEquals": {"aws:ResourceTag/lexline:stack": STACK_ID}}
CREATED_AS_OWN = {"StringEquals": {"aws:RequestTag/lexline:stack": STACK_ID}}
WHILE_CREATING = {"Null": {"sagemaker:TaggingAction": "false"}}
CONDITIONS = {
    "sagemaker:CreateTrainingJob": [CREATED_AS_OWN],
    "sagemaker:CreateModel": [CREATED_AS_OWN],
    "sagemaker:CreateEndpointConfig": [CREATED_AS_OWN],
    "sagemaker:CreateEndpoint": [CREATED_AS_OWN],
    "sagemaker:CreateModelPackageGroup": [CREATED_AS_OWN],
    # SageMaker sets TaggingAction only for the tags of a new resource. Another's resource stays another's.
    "sagemaker:AddTags": [WHILE_CREATING, OWN],
    "sagemaker:StopTrainingJob": [OWN],
    "sagemaker:DeleteModel": [OWN],
    "sagemaker:DeleteEndpointConfig": [OWN],
    "sagemaker:UpdateEndpoint": [OWN],
    "sagemaker:UpdateEndpointWeightsAndCapacities": [OWN],
    "sagemaker:DeleteEndpoint": [OWN],
    "sagemaker:DeleteModelPackageGroup": [OWN],
}
UNTAGGED = {"CreateModelPackage", "UpdateModelPackage", "DeleteModelPackage"}
"""What SageMaker cannot limit by tag, because it does not tag a group's versions."""


def test_the_roles_create_change_and_delete_only_what_has_the_stacks_tag(template: Template) -> None:
    for name, each in documents(template):
        for action in each["Action"]:
            service, _, operation = action.partition(":")
            if service != "sagemaker" or operation.startswith(("Describe", "List", "Invoke")):
                continue
            if operation in UNTAGGED:
                continue
            # An update reads its config; only the endpoint is changed.
            if operation == "UpdateEndpoint" and all(":endpoint-config/" in on for on in each["Resource"]):
                continue
            assert each.get("Condition") in CONDITIONS[action], (name, action)


def test_no_permission_of_a_stack_reaches_a_stack_whose_name_begins_with_its_name(
    deployed_with: Callable[..., Template],
) -> None:
    # The log group that all training jobs share, AWS's images, and what has no names to tell stacks apart.
    shared = (
        ":log-group:/aws/sagemaker/TrainingJobs:*",
        ":repository/",
        ":scalable-target/*",
        ":alarm:*",
        "/aws-service-role/",
    )

    def resources(stack: str) -> set[str]:
        found = {on for _, each in documents(deployed_with(stack=stack)) for on in each["Resource"]}
        return {on for on in found if on.startswith("arn:") and not any(part in on for part in shared)}

    for mine, others in itertools.permutations(("poems", "poems-two"), 2):
        reached = [
            (pattern, resource)
            for pattern in resources(mine)
            for resource in resources(others)
            if fnmatch.fnmatchcase(resource.replace("*", "any"), pattern)
        ]
        assert reached == [], mine


def test_no_name_of_a_stack_is_a_name_of_a_stack_whose_name_begins_with_its_name(
    deployed_with: Callable[..., Template],
) -> None:
    """`a` and `a-b` have a name in common only if an ending of one is the end of another."""
    endings = collections.defaultdict(list)
    for resource in deployed_with(stack="poems").resources.values():
        for field, value in resource.get("Properties", {}).items():
            if field.endswith("Name") and isinstance(value, str) and value.startswith("poems-"):
                endings[resource["Type"]].append(value.removeprefix("poems"))
    assert endings.keys() >= {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::Lambda::Function"}
    for kind, found in endings.items():
        assert [pair for pair in itertools.permutations(found, 2) if pair[0].endswith(pair[1])] == [], kind


def test_resources_name_service_and_account_and_begin_with_a_name_of_this_deployment(
    deployed_with: Callable[..., Template],
) -> None:
    # The log group that all jobs of the account share, scalable targets, which have random ids, and alarms,
    # which CloudWatch describes only to roles that may describe all.
    shared = ("log-group:/aws/sagemaker/TrainingJobs:", "scalable-target/", "alarm:")
    for _, each in documents(deployed_with(EndpointName="poems")):
        for resource in each["Resource"]:
            if resource == "*" or resource.startswith("<"):
                continue
            _, _, service, _, account, path = resource.split(":", 5)
            # The images are in AWS's accounts.
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
    folders = allowed(template, "s3:PutObject")
    del folders["ExecutionRole"]
    assert folders == {
        "ListUploadsRole": ["<Bucket.Arn>/prepared/*"],
        "ReadUploadRole": ["<Bucket.Arn>/prepared/*"],
        "AssembleDatasetRole": ["<Bucket.Arn>/prepared/*"],
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
def test_a_role_allows_exactly_what_its_functions_code_calls(template: Template, function: str) -> None:
    """The calls are read from the source, through the modules that the handler uses."""
    operations = calls_of(*handler_of(function)).operations
    needed = {action for operation in operations for action in NEEDED_FOR.get(operation, {operation})}
    needed |= NEEDED_BESIDES.get(function, set())
    # Compensate lets an endpoint scale that has scaled before, so the service-linked role exists.
    needed -= {"iam:CreateServiceLinkedRole"} if function == "CompensateFunction" else set()
    if f"{function}EventInvokeConfig" in template.resources:
        needed.add("sqs:SendMessage")
    role = template.of("AWS::IAM::Role")[f"{function.removesuffix('Function')}Role"]
    actions = {action for each in statements(role) for action in each["Action"]}
    assert {action for action in actions if not action.startswith("logs:")} == needed


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_environment_is_what_its_code_reads(template: Template, function: str) -> None:
    given = {name for name in variables_of(template, function) if not name.startswith("POWERTOOLS_")}
    # Lambda sets the region itself, and the local cloud its own address.
    assert given == calls_of(*handler_of(function)).variables - {"AWS_REGION", "AWS_ENDPOINT_URL"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_of_its_own_and_writes_to_its_own_log_group(
    template: Template, name: str
) -> None:
    function, part = template.of("AWS::Lambda::Function")[name], name.removesuffix("Function")
    assert function["Role"] == f"<{part}Role.Arn>"
    assert function["LoggingConfig"] == {"LogGroup": f"<{part}Logs>"}
    group = template.of("AWS::Logs::LogGroup")[f"{part}Logs"]
    assert group["LogGroupName"] == f"/aws/lambda/{function['FunctionName']}"
    logging = [
        (each["Action"], each["Resource"])
        for each in statements(template.of("AWS::IAM::Role")[f"{part}Role"])
        if any(action.startswith("logs:") for action in each["Action"])
    ]
    assert logging == [(["logs:CreateLogStream", "logs:PutLogEvents"], [f"<{part}Logs.Arn>"])]


def test_sam_adds_no_role_or_policy_of_its_own(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with(ApiLogsRole="CREATE")
    assert set(template.of("AWS::IAM::Role")) == set(names_of("AWS::IAM::Role"))
    managed = {
        arn for role in template.of("AWS::IAM::Role").values() for arn in role.get("ManagedPolicyArns", [])
    }
    assert managed == {
        "<TracingPolicy>",
        # API Gateway demands it of the role that writes the account's access logs.
        "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
    }


@pytest.mark.parametrize("service", ["states", "events", "scheduler", "sagemaker"])
def test_a_service_assumes_its_role_for_this_account_only(template: Template, service: str) -> None:
    trusts = [trust(role) for role in template.of("AWS::IAM::Role").values()]
    own = [each for each in trusts if each["Principal"] == {"Service": f"{service}.amazonaws.com"}]
    assert own
    for each in own:
        assert each["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_a_service_may_call_a_function_for_one_rule_or_api(template: Template) -> None:
    """The ARN names the account. EventBridge and API Gateway do not promise to send SourceAccount as well."""
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
    assert allowed(template, "iam:PassRole") == {
        "TrainRole": ["<ExecutionRole.Arn>"],
        "CreateModelRole": ["<ExecutionRole.Arn>"],
        "FinishRole": ["<ScheduleRole.Arn>"],
        "TeardownRole": ["<ScheduleRole.Arn>"],
    }
    for each in [each for _, each in documents(template) if "iam:PassRole" in each["Action"]]:
        service = "sagemaker" if each["Resource"] == ["<ExecutionRole.Arn>"] else "scheduler"
        assert each["Action"] == ["iam:PassRole"]
        assert each["Condition"] == {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}


def test_roles_name_this_deployments_state_machine(template: Template) -> None:
    """Most name it by its ARN instead of a reference, because the state machine is created after them."""
    name = template.one("AWS::StepFunctions::StateMachine")["StateMachineName"]
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}"
    known = {"<StateMachine>", f"{arn}:stateMachine:{name}", f"{arn}:execution:{name}:*"}
    for _, each in documents(template):
        if any(action.startswith("states:") for action in each["Action"]):
            assert set(each["Resource"]) <= known
    variables = [variables_of(template, function) for function in FUNCTIONS]
    given = {each["STATE_MACHINE_ARN"] for each in variables if "STATE_MACHINE_ARN" in each}
    assert given == {f"{arn}:stateMachine:{name}"}


@pytest.mark.parametrize(
    ("action", "parts"),
    [
        (
            "states:StartExecution",
            {"StateMachine", "UploadRule", "Schedule", "Acquire", "ExecutionEnded", "Sweep"},
        ),
        ("states:StopExecution", {"StateMachine", "StackDeletion"}),
        ("states:SendTaskFailure", {"Acquire", "Train", "Deploy", "Callback", "ExecutionEnded", "Sweep"}),
        ("states:GetExecutionHistory", {"Report"}),
        ("sns:Publish", {"Acquire", "Report", "Sweep", "Alarm"}),
    ],
)
def test_only_these_roles_may(template: Template, action: str, parts: set[str]) -> None:
    assert allowed(template, action).keys() == {f"{part}Role" for part in parts}


def test_the_state_machine_may_invoke_its_steps_and_nothing_else(template: Template) -> None:
    role = template.of("AWS::IAM::Role")["StateMachineRole"]
    invoked = [each["Resource"] for each in statements(role) if each["Action"] == ["lambda:InvokeFunction"]]
    given = template.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    steps = [value for name, value in given.items() if name.endswith("FunctionArn")]
    assert sorted(*invoked) == sorted(steps)
    others = {"Api", "Callback", "ExecutionEnded", "Sweep", "Alarm", "StackDeletion"}
    assert {f"<{name}.Arn>" for name in FUNCTIONS} - {*steps} == {f"<{name}Function.Arn>" for name in others}


def test_the_state_machine_may_run_its_map_and_nothing_else(template: Template) -> None:
    """Step Functions starts the Map's children as executions of the state machine, and reads their inputs.

    https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
    """
    role = template.of("AWS::IAM::Role")["StateMachineRole"]
    (policy,) = [policy for policy in role["Policies"] if policy["PolicyName"] == "ReadUploads"]
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:lexline-pipeline"
    executions = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:lexline-pipeline:*"
    assert {
        action: resource
        for each in listed(policy["PolicyDocument"])
        for action in each["Action"]
        for resource in each["Resource"]
    } == {
        "s3:GetObject": "<Bucket.Arn>/prepared/*/items.json",
        "states:StartExecution": machine,
        "states:DescribeExecution": executions,
        "states:StopExecution": executions,
    }


@pytest.mark.parametrize(
    ("action", "folders"),
    [
        ("s3:GetObject", ["prepared", "code", "runs", "checkpoints"]),
        ("s3:PutObject", ["runs", "checkpoints"]),
        # If the script deletes a checkpoint, SageMaker deletes it from the bucket.
        ("s3:DeleteObject", ["checkpoints"]),
    ],
)
def test_the_execution_role_uses_only_the_folders_of_runs(
    template: Template, action: str, folders: list[str]
) -> None:
    assert allowed(template, action)["ExecutionRole"] == [f"<Bucket.Arn>/{folder}/*" for folder in folders]


def test_the_execution_role_lists_only_what_it_reads(template: Template) -> None:
    role = template.of("AWS::IAM::Role")["ExecutionRole"]
    (listing,) = [each for each in statements(role) if "s3:ListBucket" in each["Action"]]
    read = ["prepared/*", "code/*", "runs", "runs/*", "checkpoints", "checkpoints/*"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": read}}


def test_the_execution_role_sees_the_alarms_of_an_update(template: Template) -> None:
    """SageMaker describes them with this role. Without it, every update would be refused or unwatched.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    watched = {
        name: each["Resource"]
        for name, each in documents(template)
        if each["Action"] == ["cloudwatch:DescribeAlarms"]
    }
    # CloudWatch demands the permission on all alarms.
    alarms = ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:*"]
    assert watched == {"ExecutionRole": alarms, "DeployRole": ["*"]}
    alarms_of_updates = variables_of(template, "DeployFunction")["ALARMS"]
    assert alarms_of_updates == "<EndpointErrorsAlarm>,<EndpointLatencyAlarm>"
