"""The project's own template on the local cloud, deployed by the code that `lexline up` runs."""

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from lexline.aws import sam, target
from lexline.aws.stack import read as read_stack
from localcloud import control
from localcloud.control import LocalCloud
from tests.waiting import DEADLINE, wait_until

PROJECT = Path(__file__).resolve().parents[1]

TINY = {
    "Emsize": "16",
    "Nhid": "16",
    "Nlayers": "1",
    "Epochs": "1",
    "BatchSize": "4",
    "Bptt": "10",
    "LogInterval": "50",
    "HostingImage": "pytorch",
    "QuietSeconds": "0.3",
    "WatchSeconds": "0",
    "Tolerance": "1",
}
"""With these parameters a corpus of some thousand words trains in a few seconds and is served in the image
that starts fastest. A run starts a moment after the last upload, an update is not watched, and a model may be
twice as bad as the one of the test before."""


NO_SUCH_PROXY = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
"""A proxy at which nothing listens. The local cloud and its clients do not use it."""


class Response(NamedTuple):
    """An HTTP response with a JSON body."""

    status: int
    body: dict[str, Any]


def send(
    url: str,
    method: str = "GET",
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send an HTTP request with a JSON body, and return the response."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return Response(response.status, json.load(response))
    except urllib.error.HTTPError as error:
        return Response(error.code, json.load(error))


@dataclass(frozen=True)
class DeployedStack:
    """A stack on the local cloud, and the operations that tests perform on it."""

    cloud: LocalCloud
    name: str
    outputs: Mapping[str, str]
    """The stack's CloudFormation outputs, by name."""
    api_url: str
    """The API's URL on this machine, with its stage."""

    @property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    def api_key(self) -> str:
        """Return the value of the stack's API key."""
        key = self.cloud.client("apigateway").get_api_key(apiKey=self.outputs["ApiKeyId"], includeValue=True)
        return str(key["value"])

    def resources(self) -> dict[str, str]:
        """Return the physical id of every resource, by its name in the template."""
        pages = self.cloud.client("cloudformation").get_paginator("list_stack_resources")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages.paginate(StackName=self.name)
            for resource in page["StackResourceSummaries"]
        }

    def upload(self, dataset: str, file: str, content: bytes) -> None:
        """Upload a file, which starts a run."""
        key = f"uploads/{dataset}/{file}"
        self.cloud.client("s3").put_object(Bucket=self.bucket, Key=key, Body=content)

    def start(self, document: Mapping[str, Any]) -> str:
        """Start an execution and return its ARN."""
        started = self.cloud.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["StateMachineArn"], input=json.dumps(document)
        )
        return str(started["executionArn"])

    def start_by_upload(self, dataset: str, file: str, content: bytes) -> str:
        """Upload a file, and return the ARN of the execution that this starts."""
        known = set(self.executions())
        self.upload(dataset, file, content)
        (execution,) = self.wait_for_new(known)
        return execution

    def executions(self) -> list[str]:
        """Return the ARNs of all executions, newest first."""
        pages = self.cloud.client("stepfunctions").get_paginator("list_executions")
        found = pages.paginate(stateMachineArn=self.outputs["StateMachineArn"])
        return [execution["executionArn"] for page in found for execution in page["executions"]]

    def wait_for_new(self, known: set[str], number: int = 1) -> set[str]:
        """Wait until there are so many executions that are not known, and return them."""

        def new() -> set[str]:
            found = set(self.executions()) - known
            return found if len(found) >= number else set()

        return wait_until(new, f"{number} new executions")

    def wait(self, execution: str) -> dict[str, Any]:
        """Wait for an execution's end and return the response of DescribeExecution."""
        states = self.cloud.client("stepfunctions")

        def ended() -> dict[str, Any] | None:
            description: dict[str, Any] = states.describe_execution(executionArn=execution)
            return description if description["status"] != "RUNNING" else None

        # Each request takes processor time from the execution.
        return wait_until(ended, f"the end of {execution}", pause=0.25)

    def report(self, execution: str) -> dict[str, Any]:
        """Wait for an execution, check that it did not fail, and return its report."""
        description = self.wait(execution)
        assert description["status"] == "SUCCEEDED", description.get("cause")
        report: dict[str, Any] = json.loads(description["output"])
        return report

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start an execution, wait for it, check that it did not fail, and return its report."""
        return self.report(self.start(request))

    def call_api(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = ""
    ) -> Response:
        """Send a request to the API with the stack's key, with another key, or without a key (None)."""
        headers = {} if key is None else {"x-api-key": key or self.api_key()}
        return send(f"{self.api_url}{path}", method, body, headers)

    @contextlib.contextmanager
    def environment(self, function: str, **variables: str) -> Iterator[None]:
        """Change the environment of a function for the block. A new deployment would take half a minute.

        Args:
            function: The function's name in the template.
            variables: Values that replace those of the deployment.
        """
        functions, name = self.cloud.client("lambda"), self.resources()[function]
        deployed = functions.get_function_configuration(FunctionName=name)["Environment"]
        changed = {"Variables": {**deployed["Variables"], **variables}}
        functions.update_function_configuration(FunctionName=name, Environment=changed)
        try:
            yield
        finally:
            functions.update_function_configuration(FunctionName=name, Environment=deployed)


@contextlib.contextmanager
def running(
    state_dir: Path, environment: Mapping[str, str], module: str = "localcloud"
) -> Iterator[LocalCloud]:
    """Run a local cloud for the block, and check that it leaves nothing."""
    cloud = control.start(state_dir, owner=os.getpid(), environment=environment, module=module)
    server = psutil.Process(cloud.pid)
    yield cloud
    tree = [server, *server.children(recursive=True)]
    control.stop(state_dir)
    assert not state_dir.exists()
    assert [process for process in tree if control.alive(process)] == []


def deploy(cloud: LocalCloud, parameters: Mapping[str, str], name: str = "lexline") -> DeployedStack:
    """Build template.yaml and deploy it with samconfig.toml's [local] parameters, or update the stack."""
    place = target.for_cloud(cloud, name)
    sam.deploy(place, PROJECT, parameters, show=lambda line: None)
    stacks = cloud.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output.get("OutputValue", "") for output in stacks[0]["Outputs"]}
    return DeployedStack(cloud, name, outputs, read_stack(place).api_url)
