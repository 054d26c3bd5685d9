"""What the stack keeps, where, and for how long; and how its parts find each other."""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest

from contracts.request import ExecutionInput
from tests.unit.template.conftest import ACCOUNT, PROJECT, REGION, Template, source, statements

DEFINITION = PROJECT / "statemachine" / "pipeline.asl.json"

# --- the bucket ---


def test_nothing_in_the_bucket_can_be_public(template: Template) -> None:
    assert template.one("AWS::S3::Bucket")["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }


def test_the_bucket_is_encrypted_versioned_and_without_acls(template: Template) -> None:
    bucket = template.one("AWS::S3::Bucket")
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_the_bucket_refuses_everything_that_does_not_come_over_tls(template: Template) -> None:
    policy = template.one("AWS::S3::BucketPolicy")
    assert policy["Bucket"] == "<Bucket>"
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Resource"] == ["<Bucket.Arn>", "<Bucket.Arn>/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def lifecycle(template: Template) -> dict[str, dict[str, Any]]:
    rules = template.one("AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    return {rule["Id"]: rule for rule in rules}


def test_what_nobody_can_see_does_not_cost_for_ever(template: Template) -> None:
    rules = lifecycle(template)
    assert rules["interrupted-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert "Prefix" not in rules["interrupted-uploads"]
    assert rules["old-versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert "Prefix" not in rules["old-versions"]


def test_uploads_and_models_never_expire(template: Template) -> None:
    expiring = [rule for rule in lifecycle(template).values() if "ExpirationInDays" in rule]
    assert [rule["Prefix"] for rule in expiring] == ["prepared/", "checkpoints/"]


def test_checkpoints_are_gone_soon_after_their_job(template: Template) -> None:
    rule = lifecycle(template)["checkpoints"]
    assert (rule["Prefix"], rule["ExpirationInDays"]) == ("checkpoints/", 7)
    # Longer than a job may run (contracts.TrainingResources), or one that waits would lose its own.
    assert rule["ExpirationInDays"] * 86_400 > 432_000
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


def test_models_stay_where_they_can_be_read_at_once(template: Template) -> None:
    transitions = {
        each["StorageClass"] for rule in lifecycle(template).values() for each in rule.get("Transitions", [])
    }
    assert transitions == {"STANDARD_IA"}


# --- table, topic, logs ---


def test_the_table_expires_its_items_and_is_encrypted_and_recoverable(template: Template) -> None:
    table = template.one("AWS::DynamoDB::Table")
    assert table["KeySchema"] == [{"AttributeName": "resource", "KeyType": "HASH"}]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"]["SSEEnabled"]
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]


def test_the_topic_is_encrypted(template: Template) -> None:
    assert template.one("AWS::SNS::Topic")["KmsMasterKeyId"] == "alias/aws/sns"


def test_every_log_group_forgets_after_the_days_asked_for(deployed_with: Callable[..., Template]) -> None:
    groups = deployed_with(LogRetentionDays="7").of("AWS::Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {"7"}


def test_the_topics_own_policy_lets_nobody_publish(template: Template) -> None:
    policy = template.one("AWS::SNS::TopicPolicy")
    assert policy["Topics"] == ["<Topic>"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "sns:Publish")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# --- the state machine ---


def test_every_substitution_of_the_definition_is_given_and_no_other(template: Template) -> None:
    used = set(re.findall(r"\$\{(\w+)\}", DEFINITION.read_text(encoding="utf-8")))
    given = template.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    assert given.keys() == used


def test_a_step_is_given_the_function_of_its_name(template: Template) -> None:
    given = template.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    assert given == {name: f"<{name.removesuffix('Arn')}.Arn>" for name in given}


def test_the_state_machine_logs_its_course_but_not_its_data(template: Template) -> None:
    machine = template.one("AWS::StepFunctions::StateMachine")
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    logging = machine["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    group = template.of("AWS::Logs::LogGroup")["StateMachineLogs"]
    assert group["LogGroupName"] == "/aws/vendedlogs/states/lexline-pipeline"


def test_roles_that_answer_the_state_machine_name_it_as_it_is_called(template: Template) -> None:
    name = template.one("AWS::StepFunctions::StateMachine")["StateMachineName"]
    answering = {
        role: statement["Resource"]
        for role, properties in template.of("AWS::IAM::Role").items()
        for statement in statements(properties)
        if "states:SendTaskFailure" in statement["Action"]
    }
    assert answering.keys() == {
        f"{function}Role"
        for function in ("Acquire", "Train", "Deploy", "Callback", "ExecutionEnded", "Sweep")
    }
    assert {arn.rpartition(":")[2] for (arn,) in answering.values()} == {name}


def test_functions_and_roles_mean_the_state_machine_that_there_is(template: Template) -> None:
    """They name it instead of referring to it, for it comes after them."""
    name = template.one("AWS::StepFunctions::StateMachine")["StateMachineName"]
    given = {
        function["Environment"]["Variables"]["STATE_MACHINE_ARN"]
        for function in template.of("AWS::Lambda::Function").values()
        if "STATE_MACHINE_ARN" in function["Environment"]["Variables"]
    }
    assert given == {f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"}


# --- what the functions import ---


def test_the_layer_fits_every_runtime_and_processor_that_may_be_chosen() -> None:
    makefile = (PROJECT / "functions" / "dependencies" / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^LAYER_TARGETS \?= (.+)$", makefile, re.MULTILINE)
    assert targets
    allowed = {
        name: source()["Parameters"][name]["AllowedValues"] for name in ("PythonRuntime", "Architecture")
    }
    assert set(targets[1].split()) == {
        f"{runtime.removeprefix('python')}-{processor.replace('arm64', 'aarch64')}"
        for runtime in allowed["PythonRuntime"]
        for processor in allowed["Architecture"]
    }


# --- what starts and wakes it ---


def test_the_bucket_announces_its_objects(template: Template) -> None:
    notification = template.one("AWS::S3::Bucket")["NotificationConfiguration"]
    assert notification == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


def test_an_upload_and_nothing_else_in_the_bucket_starts_the_machine(template: Template) -> None:
    rule = template.of("AWS::Events::Rule")["UploadRule"]
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["<Bucket>"]}, "object": {"key": [{"prefix": "uploads/"}]}},
    }
    (target,) = rule["Targets"]
    assert (target["Arn"], target["RoleArn"]) == ("<StateMachine>", "<UploadRuleRole.Arn>")


def test_the_machine_gets_the_upload_in_the_form_its_contract_wants(template: Template) -> None:
    (target,) = template.of("AWS::Events::Rule")["UploadRule"]["Targets"]
    transformer = target["InputTransformer"]
    values = {"bucket": "b", "key": 'uploads/d/"quoted".txt', "etag": "e", "size": 5, "version": "v"}
    assert transformer["InputPathsMap"].keys() == values.keys()
    text = transformer["InputTemplate"]
    for name, value in values.items():
        # EventBridge writes a value as JSON where its placeholder stands without quotes.
        text = text.replace(f"<{name}>", json.dumps(value))
    parsed = ExecutionInput.model_validate_json(text)
    assert parsed.upload
    assert (parsed.upload.key, parsed.upload.version_id) == ('uploads/d/"quoted".txt', "v")


def test_the_end_of_a_job_or_endpoint_of_this_deployment_wakes_the_callback(
    deployed_with: Callable[..., Template],
) -> None:
    template = deployed_with(EndpointName="poems")
    rules = template.of("AWS::Events::Rule")
    job = rules["TrainingJobRule"]["EventPattern"]["detail"]
    assert job == {
        "TrainingJobName": [{"prefix": "poems--"}],
        "TrainingJobStatus": ["Completed", "Failed", "Stopped"],
    }
    endpoint = rules["EndpointRule"]["EventPattern"]["detail"]
    assert endpoint["EndpointName"] == ["poems"]
    assert {"IN_SERVICE", "InService", "FAILED", "Failed"} <= set(endpoint["EndpointStatus"])
    assert not {"CREATING", "UPDATING", "Creating", "Updating", "Deleting"} & set(endpoint["EndpointStatus"])
    for name in ("TrainingJobRule", "EndpointRule"):
        assert [each["Arn"] for each in rules[name]["Targets"]] == ["<CallbackFunction.Arn>"]
        permission = template.of("AWS::Lambda::Permission")[f"{name}Permission"]
        assert permission["Principal"] == "events.amazonaws.com"
        assert permission["SourceArn"] == f"<{name}.Arn>"


# --- what runs use of it ---


def images_of(template: Template, function: str) -> dict[str, str]:
    variables = template.of("AWS::Lambda::Function")[function]["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if "_IMAGE_" in name}


REGISTRY = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"


def test_jobs_train_in_the_pytorch_image_of_the_region(template: Template) -> None:
    images = images_of(template, "TrainFunction")
    assert images.keys() == {"TRAINING_IMAGE_CPU", "TRAINING_IMAGE_GPU"}
    assert all(fnmatchcase(image, f"{REGISTRY}/pytorch:*") for image in images.values()), images


@pytest.mark.parametrize(
    ("chosen", "cpu", "gpu"),
    [
        ({}, "ray:serve-ml-sagemaker-cpu-v1", "ray:serve-ml-sagemaker-cuda-v1"),
        ({"HostingImage": "pytorch"}, "pytorch-inference:2.6.0-cpu-*", "pytorch-inference:2.6.0-gpu-*"),
    ],
    ids=["by default Ray's", "PyTorch's"],
)
def test_models_are_served_by_the_image_that_was_chosen(
    deployed_with: Callable[..., Template], chosen: dict[str, str], cpu: str, gpu: str
) -> None:
    images = images_of(deployed_with(**chosen), "CreateModelFunction")
    assert images.keys() == {"HOSTING_IMAGE_CPU", "HOSTING_IMAGE_GPU"}
    assert fnmatchcase(images["HOSTING_IMAGE_CPU"], f"{REGISTRY}/{cpu}")
    assert fnmatchcase(images["HOSTING_IMAGE_GPU"], f"{REGISTRY}/{gpu}")


@pytest.mark.parametrize(("image", "repository"), [("ray", "ray"), ("pytorch", "pytorch-inference")])
def test_the_execution_role_pulls_the_images_that_are_run(
    deployed_with: Callable[..., Template], image: str, repository: str
) -> None:
    role = deployed_with(HostingImage=image).of("AWS::IAM::Role")["ExecutionRole"]
    pulled = [
        statement["Resource"]
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if "ecr:BatchGetImage" in statement["Action"]
    ]
    assert pulled == [
        [
            "arn:aws:ecr:eu-west-1:763104351884:repository/pytorch",
            f"arn:aws:ecr:eu-west-1:763104351884:repository/{repository}",
        ]
    ]


def test_outputs_say_what_a_client_needs() -> None:
    assert source()["Outputs"].keys() == {
        "BucketName",
        "StateMachineArn",
        "EndpointName",
        "TableName",
        "TopicArn",
        "ApiUrl",
        "ApiId",
        "ApiAuthorization",
        "ApiKeyId",
    }


def test_deleting_the_stack_deletes_no_data_in_silence() -> None:
    resources = source()["Resources"]
    # CloudFormation refuses to delete a bucket that is not empty, and keeps one that it would replace.
    assert resources["Bucket"]["DeletionPolicy"] == "Delete"
    assert resources["Bucket"]["UpdateReplacePolicy"] == "Retain"
