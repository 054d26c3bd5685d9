"""EventBridge: events of uploads and changes of state reach their targets if the targets allow it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.lab import RECORDS, Lab, allow, document, unique
from tests.waiting import wait_until

Rule = Callable[..., str]
Listen = Callable[[str, list[str]], str]

# The pipeline's state machine gets this input.
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
def bucket(lab: Lab) -> str:
    """A versioned bucket that sends events about its objects."""
    s3, name = lab.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    return name


@pytest.fixture
def rule(lab: Lab) -> Iterator[Rule]:
    """rule(pattern, ARN, permitted, ...): a rule with one target. A function's policy permits the rule."""
    events, names = lab.client("events"), []

    def create(pattern: dict[str, Any], arn: str, *, permitted: bool = True, **more: Any) -> str:
        names.append(unique("rule"))
        rule_arn = events.put_rule(Name=names[-1], EventPattern=json.dumps(pattern))["RuleArn"]
        if permitted and ":lambda:" in arn:
            lab.functions.add_permission(
                FunctionName=arn,
                StatementId=names[-1],
                Action="lambda:InvokeFunction",
                Principal="events.amazonaws.com",
                SourceArn=rule_arn,
            )
        events.put_targets(Rule=names[-1], Targets=[{"Id": "target", "Arn": arn, **more}])
        return str(rule_arn)

    yield create
    for name in names:
        events.remove_targets(Rule=name, Ids=["target"])
        events.delete_rule(Name=name)


# --- uploads ---


def uploads_to(bucket: str) -> dict[str, Any]:
    return {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "uploads/"}]}},
    }


def test_an_upload_starts_the_state_machine_with_its_description(lab: Lab, bucket: str, rule: Rule) -> None:
    machine = lab.machine(ECHO)
    starter = lab.role("events.amazonaws.com", allow("states:StartExecution", machine))
    rule(uploads_to(bucket), machine, RoleArn=starter, InputTransformer=TRANSFORMER)
    s3 = lab.client("s3")
    s3.put_object(Bucket=bucket, Key="prepared/sotu/train", Body=b"not an upload")
    key = "uploads/state of the union/1790 Washington & co.txt"
    put = s3.put_object(Bucket=bucket, Key=key, Body=b"Fellow-Citizens")
    (execution,) = wait_until(lambda: lab.executions(machine), "the execution to start")
    assert lab.finish(execution["executionArn"])["output"] == {
        "upload": {
            "bucket": bucket,
            "key": key,
            "etag": put["ETag"].strip('"'),
            "size": len(b"Fellow-Citizens"),
            "version_id": put["VersionId"],
        }
    }


def test_a_target_whose_role_may_not_start_it_is_not_started(lab: Lab, bucket: str, rule: Rule) -> None:
    machine = lab.machine(ECHO)
    rule(uploads_to(bucket), machine, RoleArn=lab.role("events.amazonaws.com"))
    lab.client("s3").put_object(Bucket=bucket, Key="uploads/sotu/corpus.txt", Body=b"text")
    denial = f"states:StartExecution on resource: {machine}"
    wait_until(lambda: denial in lab.server_log(), "the denial in the log")
    assert lab.executions(machine) == []


def test_a_bucket_that_requires_tls_accepts_requests_over_loopback(lab: Lab, bucket: str) -> None:
    s3 = lab.client("s3")

    def deny(secure: str) -> None:
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {"Bool": {"aws:SecureTransport": secure}},
        }
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document(statement)))

    deny("false")
    s3.put_object(Bucket=bucket, Key="uploads/a.txt", Body=b"text")
    deny("true")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="uploads/a.txt", Body=b"text")


# --- functions ---


def changes(prefix: str) -> dict[str, Any]:
    return {"source": ["lexline.test"], "detail": {"TrainingJobName": [{"prefix": prefix}]}}


def put(lab: Lab, job: str, source: str = "lexline.test") -> Any:
    detail = json.dumps({"TrainingJobName": job})
    entry = {"Source": source, "DetailType": "SageMaker Training Job State Change", "Detail": detail}
    return lab.client("events").put_events(Entries=[entry])


def test_a_function_gets_the_events_of_its_rule_and_is_retried(lab: Lab, rule: Rule) -> None:
    queue, function = lab.recorder(f"{RECORDS}        raise RuntimeError('not this time')")
    prefix = unique("lexline")
    rule(changes(prefix), function)
    put(lab, "another-job")
    put(lab, f"{prefix}-sotu")
    # One event: one invocation and AWS's two retries.
    wait_until(lambda: lab.count(queue) == 3, "three attempts")
    assert lab.receive(queue)["detail"] == {"TrainingJobName": f"{prefix}-sotu"}


def test_a_function_whose_policy_does_not_name_the_rule_is_not_invoked(lab: Lab, rule: Rule) -> None:
    queue, function = lab.recorder()
    prefix = unique("lexline")
    rule(changes(prefix), function, permitted=False)
    put(lab, f"{prefix}-sotu")
    denial = f"the policy of {function} does not let events.amazonaws.com invoke it"
    wait_until(lambda: denial in lab.server_log(), "the denial in the log")
    assert lab.count(queue) == 0


def test_clients_cannot_send_the_events_of_aws_services(lab: Lab) -> None:
    response = put(lab, "job", source="aws.sagemaker")
    assert response["FailedEntryCount"] == 1
    assert response["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_an_alarms_change_is_an_event(lab: Lab, rule: Rule) -> None:
    queue, function = lab.recorder()
    name, cloudwatch = unique("alarm"), lab.client("cloudwatch")
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
        # Without data the alarm keeps the states that this test sets.
        TreatMissingData="ignore",
    )
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    pattern = {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "resources": [alarm["AlarmArn"]],
        "detail": {"state": {"value": ["ALARM"]}},
    }
    rule(pattern, function)
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason=f"It is {state}.")
    event = lab.receive(queue)
    assert event["resources"] == [alarm["AlarmArn"]]
    assert event["detail"]["alarmName"] == name
    assert event["detail"]["configuration"]["description"] == "Something is wrong."
    assert event["detail"]["previousState"]["value"] == "OK"
    assert event["detail"]["state"]["reason"] == "It is ALARM."
    cloudwatch.delete_alarms(AlarmNames=[name])


# --- the events of Step Functions ---

ENDS = ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"]
DESCRIBES = """
    import boto3, json, os
    def handler(event, context):
        arn = event["detail"]["executionArn"]
        described = boto3.client("stepfunctions").describe_execution(executionArn=arn)
        event["described"] = {name: described.get(name) for name in ("status", "error", "cause", "output")}
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
"""


def ending(seconds: int) -> dict[str, Any]:
    """A state machine that ends as its input says: at once, with an error, or only when it is stopped."""
    return {
        "StartAt": "End",
        "TimeoutSeconds": seconds,
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
            # The tests' cloud waits a fiftieth of this time.
            "Wait": {"Type": "Wait", "Seconds": 1_000_000, "Next": "Succeed"},
            "Succeed": {"Type": "Succeed", "Output": {"end": "{% $states.input.end %}"}},
        },
    }


@pytest.fixture
def status_events(lab: Lab, rule: Rule) -> Listen:
    """status_events(machine, statuses): a queue with the events about executions with these statuses."""

    def listen(machine: str, statuses: list[str]) -> str:
        queue, function = lab.recorder(DESCRIBES, allow("states:DescribeExecution"))
        pattern = {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": [machine], "status": statuses},
        }
        rule(pattern, function)
        return queue

    return listen


@pytest.mark.parametrize("end", ENDS)
def test_a_function_gets_an_event_about_an_executions_end(lab: Lab, status_events: Listen, end: str) -> None:
    definition = ending(1 if end == "TIMED_OUT" else 10_000)
    machine, other = lab.machine(definition), lab.machine(definition)
    queue = status_events(machine, ENDS)
    lab.run(other, {"end": "SUCCEEDED"})
    execution = lab.start(machine, {"end": end})
    if end == "ABORTED":
        lab.states.stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    event = lab.receive(queue)
    assert event["resources"] == [execution]
    error, cause = {
        "SUCCEEDED": (None, None),
        "FAILED": ("NoCorpus", "the archive is empty"),
        "ABORTED": ("Stopped", "by hand"),
        "TIMED_OUT": ("States.Timeout", None),
    }[end]
    output = json.dumps({"end": end}) if end == "SUCCEEDED" else None
    detail = event["detail"]
    assert detail.pop("startDate") <= detail.pop("stopDate")
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


def test_the_start_of_an_execution_is_an_event(lab: Lab, status_events: Listen) -> None:
    machine = lab.machine(ending(10_000))
    queue = status_events(machine, ["RUNNING"])
    execution = lab.start(machine, {"end": "SUCCEEDED"})
    detail = lab.receive(queue)["detail"]
    assert (detail["executionArn"], detail["stopDate"], detail["output"]) == (execution, None, None)


@pytest.mark.parametrize(
    ("size", "input_included", "output_included"),
    [(100 * 1024, True, True), (130 * 1024, False, True), (250 * 1024, False, False)],
)
def test_an_event_leaves_out_input_and_output_that_are_too_large(
    lab: Lab, status_events: Listen, size: int, input_included: bool, output_included: bool
) -> None:
    machine = lab.machine(ECHO)
    queue = status_events(machine, ["SUCCEEDED"])
    lab.start(machine, "x" * size)
    detail = lab.receive(queue)["detail"]
    assert detail["inputDetails"] == {"included": input_included}
    assert detail["outputDetails"] == {"included": output_included}
    assert (detail["input"] is not None, detail["output"] is not None) == (input_included, output_included)
