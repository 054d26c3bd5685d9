"""API Gateway: an API from an OpenAPI document admits the callers that the document names."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud.control import LocalCloud
from tests.integration.lab import Lab, unique

FUNCTION = "def handler(event, context): return {'statusCode': 200, 'body': '\"in\"'}"
URL = "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/v1"
"""The URL of an API as templates compose it."""
REFUSAL = {"responseTemplates": {"application/json": '{"refused": $context.error.messageString}'}}


def template(function: str) -> dict[str, Any]:
    """An API with three routes: without authorization, with the API's key, and with a signature."""
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri}

    def route(*security: dict[str, Any]) -> dict[str, Any]:
        return {"get": {"security": list(security), "x-amazon-apigateway-integration": integration}}

    key = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    sign = {"type": "apiKey", "in": "header", "name": "Authorization"}
    openapi = {
        "openapi": "3.0.1",
        "info": {"title": "an-api", "version": "1"},
        "components": {
            "securitySchemes": {"key": key, "sign": {**sign, "x-amazon-apigateway-authtype": "awsSigv4"}}
        },
        "paths": {"/open": route(), "/keyed": route({"key": []}), "/signed": route({"sign": []})},
        "x-amazon-apigateway-gateway-responses": {"DEFAULT_4XX": REFUSAL},
    }
    api, key_id = {"Ref": "Api"}, {"Ref": "Key"}
    stage = {"RestApiId": api, "DeploymentId": {"Ref": "Deployment"}, "StageName": "v1"}
    plan = {"ApiStages": [{"ApiId": api, "Stage": {"Ref": "Stage"}}]}
    plan_key = {"KeyId": key_id, "KeyType": "API_KEY", "UsagePlanId": {"Ref": "Plan"}}
    principal = {"FunctionName": function, "Principal": "apigateway.amazonaws.com"}
    resources = {
        "Api": ("ApiGateway::RestApi", {"Body": openapi}),
        "Deployment": ("ApiGateway::Deployment", {"RestApiId": api}),
        "Stage": ("ApiGateway::Stage", stage),
        "Key": ("ApiGateway::ApiKey", {"Enabled": True}),
        "Plan": ("ApiGateway::UsagePlan", plan),
        "PlanKey": ("ApiGateway::UsagePlanKey", plan_key),
        "Permission": ("Lambda::Permission", {"Action": "lambda:InvokeFunction", **principal}),
    }
    return {
        "Resources": {
            name: {"Type": f"AWS::{kind}", "Properties": properties}
            for name, (kind, properties) in resources.items()
        },
        "Outputs": {"Url": {"Value": {"Fn::Sub": URL}}, "Key": {"Value": key_id}},
    }


@pytest.fixture(scope="module")
def api(lab: Lab) -> Iterator[dict[str, str]]:
    """The API's URL, as the stack's outputs have it, and its key."""
    formation, name = lab.client("cloudformation"), unique("api")
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template(lab.function(FUNCTION))))
    formation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 2400}
    )
    described = formation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described}
    key = lab.client("apigateway").get_api_key(apiKey=outputs["Key"], includeValue=True)["value"]
    yield {"url": outputs["Url"], "key": key}
    formation.delete_stack(StackName=name)


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {}))) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def signed(cloud: LocalCloud, url: str) -> dict[str, str]:
    """The headers of a GET request that the administrator signed."""
    request = AWSRequest("GET", url)
    credentials = Credentials(cloud.access_key_id, cloud.secret_access_key)
    SigV4Auth(credentials, "execute-api", cloud.region).add_auth(request)
    return dict(request.headers)


def test_a_route_without_security_is_open(api: dict[str, str]) -> None:
    assert get(f"{api['url']}/open") == (200, "in")


def test_a_route_that_requires_a_key_accepts_only_the_apis_own_key(api: dict[str, str]) -> None:
    url = f"{api['url']}/keyed"
    assert get(url, {"x-api-key": api["key"]}) == (200, "in")
    assert get(url, {"x-api-key": "another"})[0] == 403
    # The refusal is the one in the document.
    assert get(url) == (403, {"refused": "Forbidden"})


def test_a_route_that_requires_a_signature_does_not_accept_a_key(
    api: dict[str, str], cloud: LocalCloud
) -> None:
    url = f"{api['url']}/signed"
    assert get(url, signed(cloud, url)) == (200, "in")
    assert get(url)[0] == 403
    assert get(url, {"x-api-key": api["key"]})[0] == 403
