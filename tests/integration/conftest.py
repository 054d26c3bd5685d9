"""Quick ways to put things into the local cloud."""

import io
import json
import textwrap
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import pytest

from localcloud.control import LocalCloud

DEADLINE = 90.0


class Lab:
    """Makes roles, functions and state machines of throw-away names, and runs the machines."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.iam = cloud.client("iam")
        self.functions = cloud.client("lambda")
        self.states = cloud.client("stepfunctions")
        self.sns = cloud.client("sns")
        self.sqs = cloud.client("sqs")

    def role(self, service: str, *statements: Mapping[str, Any], name: str = "") -> str:
        """The ARN of a role that the service may assume and that allows what the statements say."""
        name = name or f"role-{uuid.uuid4().hex[:12]}"
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))
        if statements:
            self.iam.put_role_policy(
                RoleName=name, PolicyName="inline", PolicyDocument=_document(*statements)
            )
        return str(role["Role"]["Arn"])

    def client_as(self, service: str, *statements: Mapping[str, Any]) -> Any:
        """A client of the service for a new role that allows only what the statements say."""
        role = self.role("lambda.amazonaws.com", *statements)
        trust = {"Effect": "Allow", "Principal": {"AWS": self.cloud.account}, "Action": "sts:AssumeRole"}
        self.iam.update_assume_role_policy(RoleName=role.rsplit("/", 1)[1], PolicyDocument=_document(trust))
        keys = self.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        session: Any = boto3.Session(
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            region_name=self.cloud.region,
        )
        return session.client(service, endpoint_url=self.cloud.endpoint_url)

    def function(
        self, source: str, *, role: str = "", files: Mapping[str, str] | None = None, **more: Any
    ) -> str:
        """The ARN of a Python function; `source` is its module, with a `handler(event, context)`."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            for path, text in {"app.py": source, **(files or {})}.items():
                package.writestr(path, textwrap.dedent(text))
        made = self.functions.create_function(
            FunctionName=f"function-{uuid.uuid4().hex[:12]}",
            Runtime="python3.12",
            Handler="app.handler",
            Role=role or self.role("lambda.amazonaws.com"),
            Code={"ZipFile": archive.getvalue()},
            **{"Timeout": 20, **more},
        )
        return str(made["FunctionArn"])

    def machine(self, definition: Mapping[str, Any], *, role: str = "") -> str:
        """The ARN of a JSONata state machine; its role may invoke every function unless one is given."""
        invoke = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
        made = self.states.create_state_machine(
            name=f"machine-{uuid.uuid4().hex[:12]}",
            definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
            roleArn=role or self.role("states.amazonaws.com", invoke),
        )
        return str(made["stateMachineArn"])

    def topic(self) -> tuple[str, str]:
        """The ARN of a topic, and the URL of a queue that gets what is published there."""
        topic = self.sns.create_topic(Name=f"topic-{uuid.uuid4().hex[:12]}")["TopicArn"]
        queue = self.sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
        told = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        arn = told["Attributes"]["QueueArn"]
        may_send = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        self.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": _document(may_send)})
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return str(topic), str(queue)

    def start(self, machine: str, data: Any = None) -> str:
        """Start an execution; its ARN."""
        started = self.states.start_execution(stateMachineArn=machine, input=json.dumps(data or {}))
        return str(started["executionArn"])

    def finish(self, execution: str) -> dict[str, Any]:
        """What DescribeExecution says once the execution runs no more, its output decoded."""
        description = wait_until(lambda: self._ended(execution), f"{execution} to end")
        if description.get("output"):
            description["output"] = json.loads(description["output"])
        return dict(description)

    def run(self, machine: str, data: Any = None) -> dict[str, Any]:
        """Start an execution and wait for its end."""
        return self.finish(self.start(machine, data))

    def _ended(self, execution: str) -> Any:
        description = self.states.describe_execution(executionArn=execution)
        return description if description["status"] != "RUNNING" else None


@pytest.fixture(scope="session")
def lab(cloud: LocalCloud) -> Lab:
    return Lab(cloud)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """until(condition, what): the condition's first true value; fails when that takes too long."""
    return wait_until


def wait_until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def _document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
