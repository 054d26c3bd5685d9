"""template.yaml as `lexline up` deploys it: who may use the API, and what starts a run."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud.control import LocalCloud
from tests.stack import DeployedStack, send

ROUTES = [
    ("GET", "/health"),
    ("GET", "/model"),
    ("POST", "/generate"),
    ("POST", "/score"),
    ("POST", "/v1/completions"),
    ("GET", "/v1/models"),
]
ORIGIN = "https://a.example"
"""The origin that the second stack allows."""


def signed(url: str, cloud: LocalCloud, credentials: Credentials) -> dict[str, str]:
    """Return the headers of a GET request with a signature for API Gateway."""
    request = AWSRequest("GET", url, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials, "execute-api", cloud.region).add_auth(request)
    return dict(request.headers)


def body_for(method: str) -> dict[str, Any] | None:
    """Return an empty JSON object for a POST request, and no body for others."""
    return {} if method == "POST" else None


# --- the API with a key


@pytest.mark.parametrize("key", [None, "not-the-key"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_needs_the_key(stack: DeployedStack, method: str, path: str, key: str | None) -> None:
    message = "Send a valid API key in the x-api-key header."
    response = stack.call_api(method, path, body_for(method), key)
    assert response == (403, {"code": "forbidden", "message": message})


def test_a_body_of_broken_utf_8_is_refused_by_its_byte(stack: DeployedStack) -> None:
    headers = {"x-api-key": stack.api_key(), "Content-Type": "application/json"}
    request = urllib.request.Request(f"{stack.api_url}/generate", b'{"prompt": "caf\xe9"}', headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 400
    assert "the byte at offset 15 is invalid" in json.load(refused.value)["message"]


def test_the_key_gives_access(stack: DeployedStack) -> None:
    assert stack.call_api("GET", "/health") == (200, {"status": "ok"})


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/nothing"), ("DELETE", "/model")])
def test_an_unknown_route_has_the_apis_error_format(stack: DeployedStack, method: str, path: str) -> None:
    response = stack.call_api(method, path)
    assert (response.status, response.body["code"]) == (404, "not_found")
    assert "POST /generate" in response.body["message"]


# --- the API with signatures, on a second stack


@pytest.fixture(scope="module")
def signing_stack(stack: DeployedStack) -> Iterator[DeployedStack]:
    """A second stack of the same template and code, whose API requires signatures. It is deleted again."""
    formation, s3 = stack.cloud.client("cloudformation"), stack.cloud.client("s3")
    template = formation.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]
    # The template is too long for a request of CloudFormation.
    s3.create_bucket(Bucket="lexline-templates")
    # boto3 decodes a template that is JSON.
    text = template if isinstance(template, str) else json.dumps(template)
    s3.put_object(Bucket="lexline-templates", Key="template", Body=text.encode())
    functions = stack.cloud.client("lambda")
    plan = functions.get_function_configuration(FunctionName=f"{stack.name}-plan")
    parameters = {
        "ApiAuthorization": "AWS_IAM",
        "ApiAllowedOrigins": ORIGIN,
        "EndpointName": "signed",
        "PythonRuntime": plan["Runtime"],
        # The first stack owns the account's role for logs.
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
    yield DeployedStack(stack.cloud, "lexline-signed", outputs, outputs["ApiUrl"])
    formation.delete_stack(StackName="lexline-signed")
    formation.get_waiter("stack_delete_complete").wait(StackName="lexline-signed", WaiterConfig={"Delay": 1})


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_needs_a_signature(signing_stack: DeployedStack, method: str, path: str) -> None:
    response = signing_stack.call_api(method, path, body_for(method), key=None)
    assert (response.status, response.body["code"]) == (403, "forbidden")
    assert "Signature Version 4" in response.body["message"]


def test_a_key_of_another_stack_is_no_signature(signing_stack: DeployedStack, stack: DeployedStack) -> None:
    assert signing_stack.outputs["ApiKeyId"] == ""
    assert signing_stack.call_api("GET", "/health", key=stack.api_key()).status == 403


@pytest.mark.parametrize(("caller", "status"), [("administrator", 200), ("user", 403)])
def test_only_a_caller_who_may_invoke_the_api_gets_a_response(
    signing_stack: DeployedStack, caller: str, status: int
) -> None:
    cloud, url = signing_stack.cloud, f"{signing_stack.api_url}/health"
    credentials = Credentials(cloud.access_key_id, cloud.secret_access_key)
    if caller == "user":
        iam, name = cloud.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        credentials = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    assert send(url, headers=signed(url, cloud, credentials)).status == status


# --- the API from web pages


def headers_of(
    url: str, method: str, origin: str, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str]]:
    """Send a request of a web page; return the response's status and headers."""
    request = urllib.request.Request(url, headers={"Origin": origin, **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


@pytest.mark.parametrize("path", ["/health", "/model", "/generate"])
def test_only_the_allowed_origin_gets_its_preflight_request_answered(
    signing_stack: DeployedStack, stack: DeployedStack, path: str
) -> None:
    status, headers = headers_of(f"{signing_stack.api_url}{path}", "OPTIONS", ORIGIN)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    _, headers = headers_of(f"{signing_stack.api_url}{path}", "OPTIONS", "https://b.example")
    assert "Access-Control-Allow-Origin" not in headers
    # The first stack allows no origins.
    status, headers = headers_of(f"{stack.api_url}{path}", "OPTIONS", ORIGIN)
    assert (status, "Access-Control-Allow-Origin" in headers) == (404, False)


@pytest.mark.parametrize(("path", "status"), [("/health", 403), ("/nothing", 403)])
def test_the_allowed_origin_may_read_the_errors_of_api_gateway(
    signing_stack: DeployedStack, path: str, status: int
) -> None:
    found, headers = headers_of(f"{signing_stack.api_url}{path}", "GET", ORIGIN)
    assert (found, headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/health"), ("GET", "/model")])
def test_the_functions_responses_name_an_allowed_origin_only(
    stack: DeployedStack, method: str, path: str
) -> None:
    key = {"x-api-key": stack.api_key()}
    status, headers = headers_of(f"{stack.api_url}{path}", method, ORIGIN, key)
    assert (status < 500, "Access-Control-Allow-Origin" in headers) == (True, False)
    with stack.environment("ApiFunction", ALLOWED_ORIGINS=ORIGIN):
        _, headers = headers_of(f"{stack.api_url}{path}", method, ORIGIN, key)
    assert headers["Access-Control-Allow-Origin"] == ORIGIN


def test_two_stacks_in_one_account_share_nothing(signing_stack: DeployedStack, stack: DeployedStack) -> None:
    for name in stack.outputs.keys() - {"ApiAuthorization", "ApiKeyId"}:
        assert signing_stack.outputs[name] != stack.outputs[name], name
    assert not set(stack.resources().values()) & set(signing_stack.resources().values()) - {"v1"}


# --- runs


def test_only_an_object_under_uploads_starts_a_run(stack: DeployedStack) -> None:
    known = set(stack.executions())
    s3, dataset = stack.cloud.client("s3"), f"notes-{uuid.uuid4().hex[:8]}"
    for prefix in ("prepared", "code", "runs", "other", "not-uploads"):
        s3.put_object(Bucket=stack.bucket, Key=f"{prefix}/{dataset}/README", Body=b"text")
    execution = stack.start_by_upload(dataset, "README", b"text")
    # A README is never a corpus, so the run does nothing.
    assert stack.report(execution)["status"] == "Skipped"
    upload = json.loads(stack.wait(execution)["input"])["upload"]
    assert (upload["bucket"], upload["key"], upload["size"]) == (stack.bucket, f"uploads/{dataset}/README", 4)
    assert set(stack.executions()) - known == {execution}


def test_a_run_has_the_parameters_of_the_deployment_as_defaults(stack: DeployedStack) -> None:
    functions = stack.cloud.client("lambda")
    variables = functions.get_function_configuration(FunctionName=f"{stack.name}-plan")["Environment"]
    defaults = json.loads(variables["Variables"]["DEFAULTS"])
    # The first is from tests/stack.py, the second from samconfig.toml's [local].
    assert defaults["hyperparameters"]["emsize"] == 16
    assert defaults["training"]["instance_type"] == "ml.m5.large"


# --- resources


def test_the_bucket_is_private_and_versioned_and_sends_events(stack: DeployedStack) -> None:
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
