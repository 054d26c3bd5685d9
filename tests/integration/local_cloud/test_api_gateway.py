"""API Gateway: an API from an OpenAPI document admits the callers that the document and its plans name."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import WaiterError

from localcloud.control import LocalCloud
from tests.integration.lab import Lab, unique

FUNCTION = """
    import json

    def handler(event, context):
        if event["httpMethod"] == "DELETE":
            raise ValueError("a secret of the function")
        body = [event["body"], event["isBase64Encoded"]] if event["body"] else "in"
        return {"statusCode": 200, "body": json.dumps(body), "headers": {"X-Function": "yes"}}
"""
REFUSAL = {
    "responseTemplates": {"application/json": '{"refused": $context.error.messageString}'},
    "responseParameters": {"gatewayresponse.header.Retry-After": "'7'"},
}
URL = "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/v1"
"""The URL of an API as templates compose it."""
LIMITS = {
    "Free": {},
    "Slow": {"Throttle": {"RateLimit": 0.001, "BurstLimit": 1}},
    "Scant": {"Quota": {"Limit": 1, "Period": "DAY"}},
}
"""The API's usage plans, each with a key of its own, and their limits."""


def template(function: str) -> dict[str, Any]:
    """An API with three routes: without authorization, with the API's key, and with a signature."""
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri}

    def route(*security: dict[str, Any]) -> dict[str, Any]:
        method = {"security": list(security), "x-amazon-apigateway-integration": integration}
        return dict.fromkeys(("get", "head", "options", "post", "delete"), method)

    key = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    sign = {"type": "apiKey", "in": "header", "name": "Authorization"}
    openapi = {
        "openapi": "3.0.1",
        "info": {"title": "an-api", "version": "1"},
        "components": {
            "securitySchemes": {"key": key, "sign": {**sign, "x-amazon-apigateway-authtype": "awsSigv4"}}
        },
        "paths": {"/open": route(), "/keyed": route({"key": []}), "/signed": route({"sign": []})},
        "x-amazon-apigateway-gateway-responses": {"DEFAULT_4XX": REFUSAL, "DEFAULT_5XX": REFUSAL},
        "x-amazon-apigateway-binary-media-types": ["*/*"],
    }
    api = {"Ref": "Api"}
    stage = {"RestApiId": api, "DeploymentId": {"Ref": "Deployment"}, "StageName": "v1"}
    stages = {"ApiStages": [{"ApiId": api, "Stage": {"Ref": "Stage"}}]}
    principal = {"FunctionName": function, "Principal": "apigateway.amazonaws.com"}
    resources = {
        "Api": ("ApiGateway::RestApi", {"Body": openapi}),
        "Deployment": ("ApiGateway::Deployment", {"RestApiId": api}),
        "Stage": ("ApiGateway::Stage", stage),
        "Permission": ("Lambda::Permission", {"Action": "lambda:InvokeFunction", **principal}),
    }
    for name, limits in LIMITS.items():
        link = {"KeyId": {"Ref": name}, "KeyType": "API_KEY", "UsagePlanId": {"Ref": f"{name}Plan"}}
        resources[name] = ("ApiGateway::ApiKey", {"Enabled": True})
        resources[f"{name}Plan"] = ("ApiGateway::UsagePlan", {**stages, **limits})
        resources[f"{name}PlanKey"] = ("ApiGateway::UsagePlanKey", link)
    return {
        "Resources": {
            name: {"Type": f"AWS::{kind}", "Properties": properties}
            for name, (kind, properties) in resources.items()
        },
        "Outputs": {
            "Url": {"Value": {"Fn::Sub": URL}},
            **{name: {"Value": {"Ref": name}} for name in LIMITS},
        },
    }


@pytest.fixture(scope="module")
def api(lab: Lab) -> Iterator[dict[str, str]]:
    """The API's URL, as the stack's outputs have it, each usage plan's key, and the function's ARN."""
    formation, name, function = lab.client("cloudformation"), unique("api"), lab.function(FUNCTION)
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template(function)))
    formation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 2400}
    )
    described = formation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described}
    keys = {
        name: lab.client("apigateway").get_api_key(apiKey=outputs[name], includeValue=True)["value"]
        for name in LIMITS
    }
    yield {"url": outputs["Url"], **keys, "function": function}
    formation.delete_stack(StackName=name)


def send(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Send a request; return the response's status, headers and body."""
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    status, _, body = send("GET", url, headers)
    return status, json.loads(body)


def signed(cloud: LocalCloud, url: str) -> dict[str, str]:
    """The headers of a GET request that the administrator signed."""
    request = AWSRequest("GET", url)
    credentials = Credentials(cloud.access_key_id, cloud.secret_access_key)
    SigV4Auth(credentials, "execute-api", cloud.region).add_auth(request)
    return dict(request.headers)


def test_a_stage_with_an_access_log_needs_the_accounts_role_for_logs(lab: Lab) -> None:
    formation, gateway = lab.client("cloudformation"), lab.client("apigateway")
    before = gateway.get_account().get("cloudwatchRoleArn")
    if before:
        gateway.update_account(patchOperations=[{"op": "remove", "path": "/cloudwatchRoleArn"}])
    name = unique("no-role")
    stage = {
        "RestApiId": {"Ref": "Api"},
        "StageName": "v1",
        "AccessLogSetting": {"Format": "$context.requestId"},
    }
    resources = {
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": name}},
        "Stage": {"Type": "AWS::ApiGateway::Stage", "Properties": stage},
    }
    try:
        formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
        with pytest.raises(WaiterError):
            formation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        events = formation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = " ".join(event.get("ResourceStatusReason", "") for event in events)
        assert "CloudWatch Logs role ARN must be set in account settings" in reasons
    finally:
        formation.delete_stack(StackName=name)
        if before:
            role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": before}
            gateway.update_account(patchOperations=[role])


def test_a_route_without_security_is_open(api: dict[str, str]) -> None:
    assert get(f"{api['url']}/open") == (200, "in")


def test_a_route_that_requires_a_key_accepts_only_the_apis_own_key(api: dict[str, str]) -> None:
    url = f"{api['url']}/keyed"
    assert get(url, {"x-api-key": api["Free"]}) == (200, "in")
    assert get(url, {"x-api-key": "another"})[0] == 403
    # The refusal is the one in the document.
    assert get(url) == (403, {"refused": "Forbidden"})


def test_a_route_that_requires_a_signature_does_not_accept_a_key(
    api: dict[str, str], cloud: LocalCloud
) -> None:
    url = f"{api['url']}/signed"
    assert get(url, signed(cloud, url)) == (200, "in")
    assert get(url)[0] == 403
    assert get(url, {"x-api-key": api["Free"]})[0] == 403


@pytest.mark.parametrize(("plan", "message"), [("Slow", "Too Many Requests"), ("Scant", "Limit Exceeded")])
def test_a_usage_plan_limits_its_own_key_only(api: dict[str, str], plan: str, message: str) -> None:
    url = f"{api['url']}/keyed"
    assert get(url, {"x-api-key": api[plan]}) == (200, "in")
    status, headers, body = send("GET", url, {"x-api-key": api[plan]})
    assert (status, json.loads(body)) == (429, {"refused": message})
    assert headers["Retry-After"] == "7"
    assert get(url, {"x-api-key": api["Free"]}) == (200, "in")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_the_function_responds_to_head_and_options(api: dict[str, str], method: str) -> None:
    status, headers, body = send(method, f"{api['url']}/open")
    assert (status, headers["X-Function"]) == (200, "yes")
    assert body == (b"" if method == "HEAD" else b'"in"')
    # API Gateway adds no headers for browsers.
    assert not [name for name in headers if name.lower().startswith("access-control-")]


def test_a_binary_body_arrives_with_every_byte(api: dict[str, str]) -> None:
    _, _, body = send("POST", f"{api['url']}/open", {"Content-Type": "application/json"}, b"caf\xe9\0")
    encoded, is_base64 = json.loads(body)
    assert is_base64
    assert base64.b64decode(encoded) == b"caf\xe9\0"


def test_a_function_that_fails_has_the_apis_own_error(api: dict[str, str]) -> None:
    status, headers, body = send("DELETE", f"{api['url']}/open")
    assert (status, headers["Retry-After"]) == (502, "7")
    assert json.loads(body) == {"refused": "Internal server error"}


def test_a_throttled_function_is_an_error_of_the_server(lab: Lab, api: dict[str, str]) -> None:
    function = api["function"]
    lab.functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    try:
        assert get(f"{api['url']}/open") == (500, {"refused": "Internal server error"})
    finally:
        lab.functions.delete_function_concurrency(FunctionName=function)
