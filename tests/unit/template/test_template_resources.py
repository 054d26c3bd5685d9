"""What the stack stores, where and for how long, and how its parts find each other."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.request import ExecutionInput, TrainingResources
from tests.unit.template.conftest import FUNCTIONS, PROJECT, Template, handler_of, source

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


def test_interrupted_uploads_and_old_versions_expire(template: Template) -> None:
    rules = lifecycle(template)
    assert rules["interrupted-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert "Prefix" not in rules["interrupted-uploads"]
    assert rules["old-versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert "Prefix" not in rules["old-versions"]


def test_uploads_and_models_never_expire(template: Template) -> None:
    expiring = [rule for rule in lifecycle(template).values() if "ExpirationInDays" in rule]
    assert [rule["Prefix"] for rule in expiring] == ["prepared/", "checkpoints/"]


def test_checkpoints_expire_after_the_longest_job(template: Template) -> None:
    """Earlier, a job that waits for instances would lose its own."""
    rule = lifecycle(template)["checkpoints"]
    limits = TrainingResources.model_json_schema()["properties"]["max_runtime_seconds"]
    assert rule["ExpirationInDays"] * 86_400 > limits["maximum"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


def test_models_stay_in_storage_that_is_read_at_once(template: Template) -> None:
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


def test_every_log_group_keeps_the_days_of_the_parameter(deployed_with: Callable[..., Template]) -> None:
    groups = deployed_with(LogRetentionDays="7").of("AWS::Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {"7"}


def test_the_topics_own_policy_lets_nobody_publish(template: Template) -> None:
    policy = template.one("AWS::SNS::TopicPolicy")
    assert policy["Topics"] == ["<Topic>"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "sns:Publish")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# --- the state machine ---


def test_every_step_of_the_definition_has_the_function_of_its_name(template: Template) -> None:
    used = re.findall(r"\$\{(\w+)FunctionArn\}", DEFINITION.read_text(encoding="utf-8"))
    given = template.one("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    functions = {f"{step}FunctionArn": f"<{step}Function.Arn>" for step in used}
    assert given == {**functions, "PrepareConcurrency": "40"}
    for step in used:
        module = re.sub("(?<!^)(?=[A-Z])", "_", step).lower()
        assert handler_of(f"{step}Function")[1] == f"steps.{module}.handler"


def test_every_handler_exists() -> None:
    for function in FUNCTIONS:
        folder, handler = handler_of(function)
        module, _, name = handler.rpartition(".")
        text = (folder / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert re.search(rf"^(def {name}\(|{name} = )", text, re.MULTILINE), function


def test_the_state_machine_logs_its_course_but_not_its_data(template: Template) -> None:
    machine = template.one("AWS::StepFunctions::StateMachine")
    assert machine["StateMachineType"] == "STANDARD"
    logging = machine["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    group = template.of("AWS::Logs::LogGroup")["StateMachineLogs"]
    assert group["LogGroupName"] == "/aws/vendedlogs/states/lexline-pipeline"


# --- the libraries of the functions ---


def test_the_layer_fits_every_runtime_and_architecture_of_the_parameters() -> None:
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


# --- events ---


def test_the_bucket_sends_its_events_to_eventbridge(template: Template) -> None:
    notification = template.one("AWS::S3::Bucket")["NotificationConfiguration"]
    assert notification == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


def test_only_uploads_start_the_machine(template: Template) -> None:
    rule = template.of("AWS::Events::Rule")["UploadRule"]
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["<Bucket>"]}, "object": {"key": [{"prefix": "uploads/"}]}},
    }
    (target,) = rule["Targets"]
    assert (target["Arn"], target["RoleArn"]) == ("<StateMachine>", "<UploadRuleRole.Arn>")


def test_an_upload_becomes_the_input_that_the_contract_asks_for(template: Template) -> None:
    (target,) = template.of("AWS::Events::Rule")["UploadRule"]["Targets"]
    transformer = target["InputTransformer"]
    values = {"bucket": "b", "key": 'uploads/d/"quoted".txt', "etag": "e", "size": 5, "version": "v"}
    assert transformer["InputPathsMap"].keys() == values.keys()
    text = transformer["InputTemplate"]
    for name, value in values.items():
        # EventBridge writes the value of a placeholder without quotes as JSON.
        text = text.replace(f"<{name}>", json.dumps(value))
    parsed = ExecutionInput.model_validate_json(text)
    assert parsed.upload
    assert (parsed.upload.key, parsed.upload.version_id) == ('uploads/d/"quoted".txt', "v")


def test_the_callback_receives_the_end_of_this_deployments_jobs_and_updates(
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


# --- the stack ---


def test_the_outputs_are_what_clients_read() -> None:
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


def test_deleting_the_stack_deletes_no_uploads() -> None:
    resources = source()["Resources"]
    # CloudFormation refuses to delete a bucket with objects, and keeps a bucket that it replaces.
    assert resources["Bucket"]["DeletionPolicy"] == "Delete"
    assert resources["Bucket"]["UpdateReplacePolicy"] == "Retain"


def test_the_layer_of_the_local_cloud_needs_no_internet(tmp_path: Path) -> None:
    """Its wheels are those that `make env` downloaded. This one exists nowhere else."""
    (tmp_path / "project").mkdir()
    shutil.copy(PROJECT / "functions" / "dependencies" / "Makefile", tmp_path / "project")
    (tmp_path / "project" / "requirements.txt").write_text("lexline-example==1.0\n")
    wheels = tmp_path / "the wheels"
    wheels.mkdir()
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: lexline-example\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(wheels / "lexline_example-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lexline_example.py", "")
        for name, text in metadata.items():
            wheel.writestr(f"lexline_example-1.0.dist-info/{name}", text)
    variables = {"PYTHON": sys.executable, "ARTIFACTS_DIR": str(tmp_path / "layer"), "WHEELS": str(wheels)}
    built = subprocess.run(
        ["make", "build-DependenciesLayer", "LAYER_TARGETS=3.11-x86_64"],
        cwd=tmp_path / "project",
        env={"PATH": os.environ["PATH"], "PIP_INDEX_URL": "http://127.0.0.1:9/", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "layer" / "python" / "lexline_example.py").exists()
