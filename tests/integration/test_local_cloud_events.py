"""EventBridge in the local cloud: uploads and changes of state reach their targets, where these allow it."""

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


def test_an_alarm_that_goes_off_is_an_event(
    client: Any, until: Any, rule: Callable[..., str], recorder: Any
) -> None:
    queue, function = recorder()
    name = f"alarm-{uuid.uuid4().hex[:12]}"
    cloudwatch = client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmDescription="Something is wrong.",
        Namespace="Lexline/test",
        MetricName=name,
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    pattern = {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "resources": [alarm["AlarmArn"]],
        "detail": {"state": {"value": ["ALARM"]}},
    }
    allow(client, function, rule(pattern, {"Arn": function}))
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason=f"It is {state}.")
    until(lambda: received(client, queue) == 1, "the event")
    event = json.loads(client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"])
    assert event["resources"] == [alarm["AlarmArn"]]
    assert event["detail"]["alarmName"] == name
    assert event["detail"]["configuration"]["description"] == "Something is wrong."
    assert event["detail"]["previousState"]["value"] == "OK"
    assert event["detail"]["state"]["reason"] == "It is ALARM."
    cloudwatch.delete_alarms(AlarmNames=[name])


# --- what Step Functions tells of its executions ---

ENDS = ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"]
# Ends as its input says: at once, with an error, or not by itself.
ENDING = {
    "StartAt": "End",
    "TimeoutSeconds": 2,
    "States": {
        "End": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.end = 'FAILED' %}", "Next": "Fail"},
                {"Condition": "{% $states.input.end in ['ABORTED', 'TIMED_OUT'] %}", "Next": "Wait"},
            ],
            "Default": "Succeed",
        },
        "Fail": {"Type": "Fail", "Error": "NoCorpus", "Cause": "the archive is empty"},
        # Test sessions wait a fiftieth of what a machine says.
        "Wait": {"Type": "Wait", "Seconds": 1000, "Next": "Succeed"},
        "Succeed": {"Type": "Succeed", "Output": {"end": "{% $states.input.end %}"}},
    },
}
DESCRIBES = """
    import boto3, json, os
    def handler(event, context):
        arn = event["detail"]["executionArn"]
        described = boto3.client("stepfunctions").describe_execution(executionArn=arn)
        event["described"] = {name: described.get(name) for name in ("status", "error", "cause", "output")}
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
"""


@pytest.fixture
def told_of_ends(lab: Any, client: Any, until: Any, rule: Any) -> Callable[[str, list[str]], Any]:
    """told_of_ends(machine, statuses): a function that awaits the next event of such a status."""

    def listen(machine: str, statuses: list[str]) -> Callable[[], dict[str, Any]]:
        queue = client("sqs").create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
        allowed = {
            "Effect": "Allow",
            "Action": ["sqs:SendMessage", "states:DescribeExecution"],
            "Resource": "*",
        }
        function = lab.function(
            DESCRIBES,
            role=lab.role("lambda.amazonaws.com", allowed),
            Environment={"Variables": {"QUEUE": queue}},
        )
        pattern = {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": [machine], "status": statuses},
        }
        allow(client, function, rule(pattern, {"Arn": function}))

        def next_event() -> dict[str, Any]:
            found = until(lambda: client("sqs").receive_message(QueueUrl=queue).get("Messages"), "an event")
            client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=found[0]["ReceiptHandle"])
            return dict(json.loads(found[0]["Body"]))

        return next_event

    return listen


@pytest.mark.parametrize("end", ENDS)
def test_a_function_hears_of_an_executions_end_and_finds_it_ended(
    lab: Any, client: Any, told_of_ends: Any, end: str
) -> None:
    machine, other = lab.machine(ENDING), lab.machine(ENDING)
    next_event = told_of_ends(machine, ENDS)
    lab.run(other, {"end": "SUCCEEDED"})
    execution = lab.start(machine, {"end": end})
    if end == "ABORTED":
        client("stepfunctions").stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    event = next_event()
    assert event["resources"] == [execution]
    error, cause = {
        "SUCCEEDED": (None, None),
        "FAILED": ("NoCorpus", "the archive is empty"),
        "ABORTED": ("Stopped", "by hand"),
        "TIMED_OUT": ("States.Timeout", None),
    }[end]
    output = json.dumps({"end": end}) if end == "SUCCEEDED" else None
    detail = event["detail"]
    assert 0 <= detail.pop("stopDate") - detail.pop("startDate") < 10_000
    assert {name: value for name, value in detail.items() if not name.startswith("redrive")} == {
        "executionArn": execution,
        "stateMachineArn": machine,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "name": execution.rsplit(":", 1)[1],
        "status": end,
        "input": json.dumps({"end": end}),
        "inputDetails": {"included": True},
        "output": output,
        "outputDetails": {"included": True} if output else None,
        "error": error,
        "cause": cause,
    }
    assert event["described"] == {"status": end, "error": error, "cause": cause, "output": output}


def test_the_start_of_an_execution_is_told_too(lab: Any, told_of_ends: Any) -> None:
    machine = lab.machine(ENDING)
    next_event = told_of_ends(machine, ["RUNNING"])
    execution = lab.start(machine, {"end": "SUCCEEDED"})
    detail = next_event()["detail"]
    assert (detail["executionArn"], detail["stopDate"], detail["output"]) == (execution, None, None)


@pytest.mark.parametrize(
    ("size", "input_included", "output_included"),
    [(100 * 1024, True, True), (130 * 1024, False, True), (250 * 1024, False, False)],
)
def test_what_is_too_large_for_an_event_is_left_out_of_it(
    lab: Any, told_of_ends: Any, size: int, input_included: bool, output_included: bool
) -> None:
    machine = lab.machine(ECHO)
    next_event = told_of_ends(machine, ["SUCCEEDED"])
    lab.start(machine, "x" * size)
    detail = next_event()["detail"]
    assert detail["inputDetails"] == {"included": input_included}
    assert detail["outputDetails"] == {"included": output_included}
    assert (detail["input"] is not None, detail["output"] is not None) == (input_included, output_included)


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
