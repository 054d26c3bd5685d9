"""EventBridge in the local cloud: uploads and state changes reach their targets, where these allow it."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

# What the state machine of the pipeline is started with.
TRANSFORMER = {
    "InputPathsMap": {
        "bucket": "$.detail.bucket.name",
        "key": "$.detail.object.key",
        "etag": "$.detail.object.etag",
        "size": "$.detail.object.size",
        "version": "$.detail.object.version-id",
    },
    "InputTemplate": (
        '{"upload": {"bucket": <bucket>, "key": <key>, "etag": <etag>, "size": <size>,'
        ' "version_id": <version>}}'
    ),
}
ECHO = {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}}


@pytest.fixture
def bucket(client: Callable[..., Any]) -> str:
    """A versioned bucket that tells EventBridge of its objects."""
    s3, name = client("s3"), f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    return name


@pytest.fixture
def rule(client: Callable[..., Any]) -> Iterator[Callable[..., str]]:
    """rule(pattern, target): a rule on the default bus with one target; its ARN. Removed with the test."""
    events, made = client("events"), []

    def make(pattern: dict[str, Any], target: dict[str, Any]) -> str:
        name = f"rule-{uuid.uuid4().hex[:12]}"
        made.append(name)
        arn = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
        events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])
        return str(arn)

    yield make
    for name in made:
        events.remove_targets(Rule=name, Ids=["target"])
        events.delete_rule(Name=name)


def uploads_to(bucket: str) -> dict[str, Any]:
    return {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "uploads/"}]}},
    }


def test_an_upload_starts_the_state_machine_with_what_was_uploaded(
    lab: Any, client: Any, until: Any, bucket: str, rule: Callable[..., str]
) -> None:
    machine = lab.machine(ECHO)
    starter = lab.role(
        "events.amazonaws.com", {"Effect": "Allow", "Action": "states:StartExecution", "Resource": machine}
    )
    rule(uploads_to(bucket), {"Arn": machine, "RoleArn": starter, "InputTransformer": TRANSFORMER})
    s3, states = client("s3"), client("stepfunctions")
    s3.put_object(Bucket=bucket, Key="prepared/sotu/train", Body=b"not an upload")
    key = "uploads/state of the union/1790 Washington & co.txt"
    put = s3.put_object(Bucket=bucket, Key=key, Body=b"Fellow-Citizens")

    executions = until(
        lambda: states.list_executions(stateMachineArn=machine)["executions"], "the execution to start"
    )
    assert len(executions) == 1
    assert lab.finish(executions[0]["executionArn"])["output"] == {
        "upload": {
            "bucket": bucket,
            "key": key,
            "etag": put["ETag"].strip('"'),
            "size": len(b"Fellow-Citizens"),
            "version_id": put["VersionId"],
        }
    }


def test_a_target_role_that_may_not_start_the_machine_starts_nothing(
    lab: Any, client: Any, until: Any, bucket: str, rule: Callable[..., str], cloud: Any
) -> None:
    machine = lab.machine(ECHO)
    starter = lab.role("events.amazonaws.com")
    rule(uploads_to(bucket), {"Arn": machine, "RoleArn": starter})
    client("s3").put_object(Bucket=bucket, Key="uploads/sotu/corpus.txt", Body=b"text")
    log = cloud.state_dir / "server.log"
    until(
        lambda: f"states:StartExecution on resource: {machine}" in log.read_text(), "the refusal in the log"
    )
    assert client("stepfunctions").list_executions(stateMachineArn=machine)["executions"] == []


RECORDS = """
    import boto3, json, os
    def handler(event, context):
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
        if os.environ.get("FAIL"):
            raise RuntimeError("not this time")
"""


@pytest.fixture
def recorder(lab: Any, client: Any) -> Callable[..., tuple[str, str]]:
    """recorder(FAIL="1"): a queue, and a function that puts what it is given into it and may fail then."""

    def make(**environment: str) -> tuple[str, str]:
        queue = client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
        send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
        function = lab.function(
            RECORDS,
            role=lab.role("lambda.amazonaws.com", send),
            Environment={"Variables": {"QUEUE": queue, **environment}},
        )
        return queue, function

    return make


def received(client: Callable[..., Any], queue: str) -> int:
    attributes = client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def allow(client: Callable[..., Any], function: str, rule_arn: str) -> None:
    client("lambda").add_permission(
        FunctionName=function,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule_arn,
    )


def changes(prefix: str) -> dict[str, Any]:
    return {"source": ["lexline.test"], "detail": {"TrainingJobName": [{"prefix": prefix}]}}


def put(client: Callable[..., Any], job: str, source: str = "lexline.test") -> Any:
    detail = json.dumps({"TrainingJobName": job})
    entry = {"Source": source, "DetailType": "SageMaker Training Job State Change", "Detail": detail}
    return client("events").put_events(Entries=[entry])


def test_a_function_gets_the_events_its_rule_selects_and_is_tried_again_when_it_fails(
    client: Any, until: Any, rule: Callable[..., str], recorder: Any
) -> None:
    queue, function = recorder(FAIL="1")
    prefix = f"lexline-{uuid.uuid4().hex[:8]}-"
    allow(client, function, rule(changes(prefix), {"Arn": function}))
    put(client, "another-job")
    put(client, f"{prefix}sotu")
    # One event, one invocation and AWS's two more attempts.
    until(lambda: received(client, queue) == 3, "three attempts")
    body = client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"]
    assert json.loads(body)["detail"] == {"TrainingJobName": f"{prefix}sotu"}


def test_a_function_whose_policy_does_not_name_the_rule_is_not_called(
    client: Any, until: Any, rule: Callable[..., str], recorder: Any, cloud: Any
) -> None:
    queue, function = recorder()
    prefix = f"lexline-{uuid.uuid4().hex[:8]}-"
    rule(changes(prefix), {"Arn": function})
    put(client, f"{prefix}sotu")
    refusal = f"the policy of {function} does not let events.amazonaws.com invoke it"
    until(lambda: refusal in (cloud.state_dir / "server.log").read_text(), "the refusal in the log")
    assert received(client, queue) == 0


def test_nobody_outside_may_speak_for_an_aws_service(client: Any) -> None:
    answer = put(client, "job", source="aws.sagemaker")
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_a_bucket_that_only_takes_tls_takes_the_loopback(client: Any, bucket: str, cloud: Any) -> None:
    s3 = client("s3")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    s3.put_object(Bucket=bucket, Key="uploads/a.txt", Body=b"text")
    statement["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}
    statement["Action"] = "s3:PutObject"
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="uploads/a.txt", Body=b"text")
