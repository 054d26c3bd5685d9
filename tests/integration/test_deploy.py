"""template.yaml as `lexline up` deploys it: what answers whom, and what starts a run."""

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud.control import LocalCloud
from tests.stack import DeployedStack

ROUTES = [("GET", "/health"), ("GET", "/model"), ("POST", "/generate")]


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]


def call(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """An HTTP request; a POST has an empty JSON object as its body."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    body = b"{}" if method == "POST" else None
    request = urllib.request.Request(url, data=body, method=method, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=240) as response:
            return Answer(response.status, json.loads(response.read()))
    except urllib.error.HTTPError as error:
        return Answer(error.code, json.loads(error.read()))


def signed(url: str, cloud: LocalCloud, credentials: Credentials) -> dict[str, str]:
    """The headers of a GET request that is signed for API Gateway."""
    request = AWSRequest("GET", url, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials, "execute-api", cloud.region).add_auth(request)
    return dict(request.headers)


# --- the API with a key ---


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_a_key(stack: DeployedStack, method: str, path: str) -> None:
    answer = call(stack.api_url + path, method)
    assert answer == Answer(
        403, {"code": "forbidden", "message": "Send a valid API key in the x-api-key header."}
    )


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_to_another_key(stack: DeployedStack, method: str, path: str) -> None:
    assert call(stack.api_url + path, method, {"x-api-key": "not-the-key"}).status == 403


def test_the_key_lets_in(stack: DeployedStack) -> None:
    assert call(stack.api_url + "/health", headers={"x-api-key": stack.api_key()}) == Answer(
        200, {"status": "ok"}
    )


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/nothing"), ("DELETE", "/model")])
def test_an_unknown_route_is_told_in_the_apis_format(stack: DeployedStack, method: str, path: str) -> None:
    answer = call(stack.api_url + path, method, {"x-api-key": stack.api_key()})
    assert answer.status == 404
    assert answer.body["code"] == "not_found"
    assert "POST /generate" in answer.body["message"]


# --- the API with signatures, on a second stack that is deleted again ---


@pytest.fixture(scope="module")
def signing_stack(stack: DeployedStack) -> Iterator[DeployedStack]:
    """A second stack of the same template and the same built code, whose API wants signatures."""
    formation, s3 = stack.cloud.client("cloudformation"), stack.cloud.client("s3")
    template = formation.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]
    # Longer than what CloudFormation takes within a request.
    s3.create_bucket(Bucket="lexline-templates")
    s3.put_object(Bucket="lexline-templates", Key="template", Body=as_text(template).encode())
    parameters = {
        "ApiAuthorization": "AWS_IAM",
        "EndpointName": "signed",
        "PythonRuntime": runtime(stack),
        # The account's setting is the first stack's already.
        "ApiLogsRole": "EXISTING",
    }
    formation.create_stack(
        StackName="lexline-signed",
        TemplateURL="https://s3.amazonaws.com/lexline-templates/template",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    formation.get_waiter("stack_create_complete").wait(StackName="lexline-signed", WaiterConfig={"Delay": 1})
    described = formation.describe_stacks(StackName="lexline-signed")["Stacks"][0]
    outputs = {output["OutputKey"]: output.get("OutputValue", "") for output in described["Outputs"]}
    url = stack.api_url.replace(stack.outputs["ApiId"], outputs["ApiId"])
    yield DeployedStack(stack.cloud, "lexline-signed", outputs, url)
    formation.delete_stack(StackName="lexline-signed")
    formation.get_waiter("stack_delete_complete").wait(StackName="lexline-signed", WaiterConfig={"Delay": 1})


def as_text(template: Any) -> str:
    """boto3 parses a template that is JSON."""
    return template if isinstance(template, str) else json.dumps(template)


def runtime(stack: DeployedStack) -> str:
    function = stack.cloud.client("lambda").get_function_configuration(FunctionName=f"{stack.name}-plan")
    return str(function["Runtime"])


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_an_unsigned_request(signing_stack: DeployedStack, method: str, path: str) -> None:
    answer = call(signing_stack.api_url + path, method)
    assert answer.status == 403
    assert answer.body["code"] == "forbidden"
    assert "Signature Version 4" in answer.body["message"]


def test_a_key_of_another_stack_is_no_signature(signing_stack: DeployedStack, stack: DeployedStack) -> None:
    assert signing_stack.outputs["ApiKeyId"] == ""
    assert call(signing_stack.api_url + "/health", headers={"x-api-key": stack.api_key()}).status == 403


def test_a_signature_of_somebody_who_may_invoke_lets_in(signing_stack: DeployedStack) -> None:
    cloud, url = signing_stack.cloud, signing_stack.api_url + "/health"
    administrator = Credentials(cloud.access_key_id, cloud.secret_access_key)
    assert call(url, headers=signed(url, cloud, administrator)) == Answer(200, {"status": "ok"})


def test_a_signature_of_somebody_who_may_not_invoke_is_refused(signing_stack: DeployedStack) -> None:
    cloud, url = signing_stack.cloud, signing_stack.api_url + "/health"
    iam, name = cloud.client("iam"), f"nobody-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    answer = call(url, headers=signed(url, cloud, Credentials(key["AccessKeyId"], key["SecretAccessKey"])))
    assert answer.status == 403


def test_two_stacks_in_one_account_share_nothing(signing_stack: DeployedStack, stack: DeployedStack) -> None:
    kept = {"ApiAuthorization", "ApiKeyId"}
    for name in stack.outputs.keys() - kept:
        assert signing_stack.outputs[name] != stack.outputs[name], name
    assert not set(stack.resources().values()) & set(signing_stack.resources().values()) - {"v1"}


# --- what starts a run ---


def test_only_what_is_put_under_uploads_starts_a_run(stack: DeployedStack) -> None:
    before = set(stack.executions())
    s3, dataset = stack.cloud.client("s3"), f"notes-{uuid.uuid4().hex[:8]}"
    for prefix in ("prepared", "code", "runs", "other", "not-uploads"):
        s3.put_object(Bucket=stack.bucket, Key=f"{prefix}/{dataset}/README", Body=b"text")
    stack.upload(dataset, "README", b"text")
    deadline = time.monotonic() + 240
    while not (started := set(stack.executions()) - before):
        assert time.monotonic() < deadline, "the upload started no run"
        time.sleep(0.1)
    (execution,) = started
    ended = stack.wait(execution)
    upload = json.loads(ended["input"])["upload"]
    assert (upload["bucket"], upload["key"], upload["size"]) == (stack.bucket, f"uploads/{dataset}/README", 4)
    # A file that is never a corpus: the run says so and makes nothing.
    assert (ended["status"], json.loads(ended["output"])["status"]) == ("SUCCEEDED", "Skipped")
    assert set(stack.executions()) - before == started


def test_a_run_has_the_parameters_of_the_deployment_as_defaults(stack: DeployedStack) -> None:
    functions = stack.cloud.client("lambda")
    variables = functions.get_function_configuration(FunctionName=f"{stack.name}-plan")["Environment"]
    defaults = json.loads(variables["Variables"]["DEFAULTS"])
    # tests/stack.py asks for this one, samconfig.toml's [local] for the other.
    assert defaults["hyperparameters"]["emsize"] == 16
    assert defaults["training"]["instance_type"] == "ml.m5.large"


# --- what it leaves ---


def test_the_bucket_is_private_versioned_and_announces_its_objects(stack: DeployedStack) -> None:
    s3 = stack.cloud.client("s3")
    access = s3.get_public_access_block(Bucket=stack.bucket)["PublicAccessBlockConfiguration"]
    assert all(access[name] for name in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls"))
    assert access["RestrictPublicBuckets"]
    assert s3.get_bucket_versioning(Bucket=stack.bucket)["Status"] == "Enabled"
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=stack.bucket)
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=stack.bucket)["Policy"]


def test_every_function_runs_as_its_own_role(stack: DeployedStack) -> None:
    functions = stack.cloud.client("lambda").get_paginator("list_functions")
    roles = [
        function["Role"]
        for page in functions.paginate()
        for function in page["Functions"]
        if function["FunctionName"] in stack.resources().values()
    ]
    named = [name for name in stack.resources() if name.endswith("Function")]
    assert len(roles) == len(set(roles)) == len(named)
