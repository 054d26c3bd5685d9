"""Roles, functions, state machines and queues in the local cloud for one test."""

import io
import json
import textwrap
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.control import LocalCloud
from tests.waiting import wait_until

FUNCTION_SECONDS = 120
"""The Timeout of functions, unless a test is about it."""

Statement = dict[str, Any]

RECORDS = """
    import boto3, json, os
    def handler(event, context):
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
"""


def unique(kind: str) -> str:
    """Return a name that no other test uses."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def allow(action: str | Sequence[str], resource: str | Sequence[str] = "*", **more: Any) -> Statement:
    """Return a statement of a policy."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust(principal: Mapping[str, str]) -> dict[str, Any]:
    """Return a trust policy."""
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


def document(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


class Lab:
    """Creates resources with unique names in a cloud, and uses them."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.client = cloud.client
        self.iam = cloud.client("iam")
        self.functions = cloud.client("lambda")
        self.states = cloud.client("stepfunctions")
        self.sqs = cloud.client("sqs")

    # --- IAM ---

    def role(self, service: str, *statements: Mapping[str, Any]) -> str:
        """Create a role that the service may assume and that allows these statements; return its ARN."""
        return self._role({"Service": service}, *statements)

    def client_as(self, service: str, *statements: Mapping[str, Any]) -> Any:
        """Return a client of the service for a new role that allows only these statements."""
        role = self._role({"AWS": self.cloud.account}, *statements)
        keys = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        return self.client(
            service,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    def _role(self, principal: Mapping[str, str], *statements: Mapping[str, Any]) -> str:
        name = unique("role")
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust(principal)))
        if statements:
            policy = json.dumps(document(*statements))
            self.iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
        return str(role["Role"]["Arn"])

    # --- Lambda ---

    def function(
        self, source: str, *, role: str = "", files: Mapping[str, str] | None = None, **more: Any
    ) -> str:
        """Create a Python function from a module with a `handler(event, context)`; return its ARN."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            for path, text in {"app.py": source, **(files or {})}.items():
                package.writestr(path, textwrap.dedent(text))
        created = self.functions.create_function(
            FunctionName=unique("function"),
            Runtime="python3.12",
            Handler="app.handler",
            Role=role or self.role("lambda.amazonaws.com"),
            Code={"ZipFile": archive.getvalue()},
            **{"Timeout": FUNCTION_SECONDS, **more},
        )
        return str(created["FunctionArn"])

    def invoke(self, function: str, event: Any = None) -> tuple[dict[str, Any], Any]:
        """Invoke a function; return the response and its decoded payload."""
        response = self.functions.invoke(FunctionName=function, Payload=json.dumps(event or {}))
        return response, json.loads(response["Payload"].read())

    def log(self, group: str) -> list[str]:
        """Return the messages of a log group."""
        return [
            event["message"] for event in self.client("logs").filter_log_events(logGroupName=group)["events"]
        ]

    def server_log(self) -> str:
        """Return the output of the cloud's server."""
        return (self.cloud.state_dir / "server.log").read_text(encoding="utf-8", errors="replace")

    # --- SQS and SNS ---

    def queue(self) -> str:
        """Create a queue; return its URL."""
        return str(self.sqs.create_queue(QueueName=unique("queue"))["QueueUrl"])

    def recorder(
        self, source: str = RECORDS, *statements: Mapping[str, Any], **environment: str
    ) -> tuple[str, str]:
        """Create a function that puts its events into a queue; return the queue's URL and function's ARN."""
        queue = self.queue()
        role = self.role("lambda.amazonaws.com", allow("sqs:SendMessage"), *statements)
        variables = {"QUEUE": queue, **environment}
        return queue, self.function(source, role=role, Environment={"Variables": variables})

    def receive(self, queue: str) -> Any:
        """Wait for the next message of a queue, delete it there, and return its decoded body."""
        (message,) = wait_until(
            lambda: self.sqs.receive_message(QueueUrl=queue).get("Messages"), f"a message in {queue}"
        )
        self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return json.loads(message["Body"])

    def count(self, queue: str) -> int:
        """Return the number of messages in a queue."""
        name = "ApproximateNumberOfMessages"
        described = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])
        return int(described["Attributes"][name])

    def topic(self) -> tuple[str, str]:
        """Create a topic and a queue for its messages; return the topic's ARN and the queue's URL."""
        sns, queue = self.client("sns"), self.queue()
        topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
        described = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        arn = described["Attributes"]["QueueArn"]
        send = allow(
            "sqs:SendMessage",
            arn,
            Principal={"Service": "sns.amazonaws.com"},
            Condition={"ArnEquals": {"aws:SourceArn": topic}},
        )
        self.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(document(send))})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return str(topic), queue

    # --- Step Functions ---

    def machine(self, definition: Mapping[str, Any], *, role: str = "", **more: str) -> str:
        """Create a JSONata state machine; without `role` it may invoke every function. Return its ARN."""
        created = self.states.create_state_machine(
            name=unique("machine"),
            definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
            roleArn=role or self.role("states.amazonaws.com", allow("lambda:InvokeFunction")),
            **more,
        )
        return str(created["stateMachineArn"])

    def start(self, machine: str, data: Any = None) -> str:
        """Start an execution; return its ARN."""
        started = self.states.start_execution(stateMachineArn=machine, input=json.dumps(data or {}))
        return str(started["executionArn"])

    def describe(self, execution: str) -> dict[str, Any]:
        """Return the response of DescribeExecution."""
        return dict(self.states.describe_execution(executionArn=execution))

    def finish(self, execution: str) -> dict[str, Any]:
        """Wait for an execution's end; return the response of DescribeExecution, with a decoded output."""
        wait_until(lambda: self.describe(execution)["status"] != "RUNNING", f"{execution} to end")
        description = self.describe(execution)
        if description.get("output"):
            description["output"] = json.loads(description["output"])
        return description

    def run(self, machine: str, data: Any = None) -> dict[str, Any]:
        """Start an execution and wait for its end."""
        return self.finish(self.start(machine, data))

    def executions(self, machine: str) -> list[dict[str, Any]]:
        """Return the description of each execution of a state machine."""
        listed = self.states.list_executions(stateMachineArn=machine)["executions"]
        return [self.describe(execution["executionArn"]) for execution in listed]
