"""API Gateway in the local cloud: an API deployed from an OpenAPI document lets in whom the document says."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

FUNCTION = "def handler(event, context): return {'statusCode': 200, 'body': '\"in\"'}"
REFUSAL = {"responseTemplates": {"application/json": '{"refused": $context.error.messageString}'}}


def template(function: str) -> dict[str, Any]:
    """An API with a route for everybody, one for holders of its key and one for those who sign."""
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    calls = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri}

    def route(*security: dict[str, Any]) -> dict[str, Any]:
        return {"get": {"security": list(security), "x-amazon-apigateway-integration": calls}}

    key = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    sign = {"type": "apiKey", "in": "header", "name": "Authorization"}
    document = {
        "openapi": "3.0.1",
        "info": {"title": "an-api", "version": "1"},
        "components": {
            "securitySchemes": {"key": key, "sign": {**sign, "x-amazon-apigateway-authtype": "awsSigv4"}}
        },
        "paths": {"/open": route(), "/keyed": route({"key": []}), "/signed": route({"sign": []})},
        "x-amazon-apigateway-gateway-responses": {"DEFAULT_4XX": REFUSAL},
    }
    api, stage = {"Ref": "Api"}, {"ApiId": {"Ref": "Api"}, "Stage": {"Ref": "Stage"}}
    resources = {
        "Api": ("ApiGateway::RestApi", {"Body": document}),
        "Deployment": ("ApiGateway::Deployment", {"RestApiId": api}),
        "Stage": (
            "ApiGateway::Stage",
            {"RestApiId": api, "DeploymentId": {"Ref": "Deployment"}, "StageName": "v1"},
        ),
        "Key": ("ApiGateway::ApiKey", {"Enabled": True}),
        "Plan": ("ApiGateway::UsagePlan", {"ApiStages": [stage]}),
        "PlanKey": (
            "ApiGateway::UsagePlanKey",
            {"KeyId": {"Ref": "Key"}, "KeyType": "API_KEY", "UsagePlanId": {"Ref": "Plan"}},
        ),
        "Permission": (
            "Lambda::Permission",
            {
                "Action": "lambda:InvokeFunction",
                "FunctionName": function,
                "Principal": "apigateway.amazonaws.com",
            },
        ),
    }
    return {
        "Resources": {
            name: {"Type": f"AWS::{kind}", "Properties": properties}
            for name, (kind, properties) in resources.items()
        },
        "Outputs": {"Api": {"Value": api}, "Key": {"Value": {"Ref": "Key"}}},
    }


@pytest.fixture(scope="module")
def api(lab: Any, client: Callable[..., Any], cloud: Any) -> Iterator[dict[str, str]]:
    """{"url": where the API answers, "key": its key}."""
    formation, name = client("cloudformation"), f"api-{uuid.uuid4().hex[:12]}"
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template(lab.function(FUNCTION))))
    formation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.1})
    told = formation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in told}
    key = client("apigateway").get_api_key(apiKey=outputs["Key"], includeValue=True)["value"]
    yield {"url": f"{cloud.endpoint_url}/_aws/execute-api/{outputs['Api']}/v1", "key": key}
    formation.delete_stack(StackName=name)


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {}))) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def signed(cloud: Any, url: str) -> dict[str, str]:
    """The headers of the administrator's GET request."""
    request = AWSRequest("GET", url)
    credentials = Credentials(cloud.access_key_id, cloud.secret_access_key)
    SigV4Auth(credentials, "execute-api", cloud.region).add_auth(request)
    return dict(request.headers)


def test_a_route_of_no_security_is_open(api: dict[str, str]) -> None:
    assert get(f"{api['url']}/open") == (200, "in")


def test_a_route_that_requires_a_key_takes_the_apis_own_key_only(api: dict[str, str]) -> None:
    url = f"{api['url']}/keyed"
    assert get(url, {"x-api-key": api["key"]}) == (200, "in")
    assert get(url)[0] == 403
    assert get(url, {"x-api-key": "another"})[0] == 403


def test_a_route_that_requires_a_signature_takes_no_key_for_it(api: dict[str, str], cloud: Any) -> None:
    url = f"{api['url']}/signed"
    assert get(url, signed(cloud, url)) == (200, "in")
    assert get(url)[0] == 403
    assert get(url, {"x-api-key": api["key"]})[0] == 403


def test_a_refusal_reads_as_the_document_says(api: dict[str, str]) -> None:
    assert get(f"{api['url']}/keyed") == (403, {"refused": "Forbidden"})
