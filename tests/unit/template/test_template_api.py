"""The HTTP API has the routes of the Chalice app, and none of them is open."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

import app
from tests.unit.template.conftest import Template, source, variables_of

MODES = source()["Parameters"]["ApiAuthorization"]["AllowedValues"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def document(template: Template) -> dict[str, Any]:
    body: dict[str, Any] = template.one("AWS::ApiGateway::RestApi")["Body"]
    return body


def operations(template: Template) -> dict[tuple[str, str], dict[str, Any]]:
    """The operations of the API by path and method."""
    paths = document(template)["paths"].items()
    return {(path, method): operation for path, item in paths for method, operation in item.items()}


def test_the_api_always_has_an_authorization() -> None:
    assert MODES == ["API_KEY", "AWS_IAM"]


def test_every_method_demands_what_the_parameter_says(
    mode: str, deployed_with: Callable[..., Template]
) -> None:
    template = deployed_with(ApiAuthorization=mode)
    schemes = document(template)["components"]["securitySchemes"]
    accepted = {
        "API_KEY": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "AWS_IAM": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "x-amazon-apigateway-authtype": "awsSigv4",
        },
    }[mode]
    assert operations(template)
    assert not any(method == "options" for _, method in operations(template))
    for where, operation in operations(template).items():
        # One alternative, which names one scheme. An empty alternative would let everybody in.
        assert [list(each) for each in operation["security"]] == [["caller"]], where
        assert schemes["caller"] == accepted


def test_no_method_comes_from_outside_the_document(template: Template) -> None:
    assert template.of("AWS::ApiGateway::Method") == {}
    assert list(template.of("AWS::ApiGateway::RestApi")) == ["Api"]
    assert template.of("AWS::ApiGatewayV2::Api") == {}
    assert template.of("AWS::Lambda::Url") == {}


def test_the_routes_are_the_apps(template: Template) -> None:
    routes = {(path, method.lower()) for path, methods in app.app.routes.items() for method in methods}
    assert operations(template).keys() == routes


def test_every_route_goes_to_the_function(deployed_with: Callable[..., Template]) -> None:
    for operation in operations(deployed_with(ApiAllowedOrigins="https://a.example")).values():
        integration = operation["x-amazon-apigateway-integration"]
        assert integration["type"] == "aws_proxy"
        assert "<ApiFunction.Arn>" in integration["uri"]
        assert integration["timeoutInMillis"] == 29_000


def test_an_api_key_comes_with_a_usage_plan_that_limits_it(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with(ApiAuthorization="API_KEY", ApiRate="3", ApiBurst="5", ApiDailyQuota="100")
    plan = template.one("AWS::ApiGateway::UsagePlan")
    assert plan["ApiStages"] == [{"ApiId": "<Api>", "Stage": "v1"}]
    assert plan["Throttle"] == {"RateLimit": "3", "BurstLimit": "5"}
    assert plan["Quota"] == {"Limit": "100", "Period": "DAY"}
    link = template.one("AWS::ApiGateway::UsagePlanKey")
    assert (link["KeyId"], link["UsagePlanId"]) == ("<ApiKey>", "<ApiUsagePlan>")
    assert template.one("AWS::ApiGateway::ApiKey")["Enabled"]


def test_with_signatures_there_is_no_api_key(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with(ApiAuthorization="AWS_IAM")
    for kind in ("ApiKey", "UsagePlan", "UsagePlanKey"):
        assert template.of(f"AWS::ApiGateway::{kind}") == {}


def test_the_stage_is_throttled_and_logged_in_both_modes(
    mode: str, deployed_with: Callable[..., Template]
) -> None:
    template = deployed_with(ApiAuthorization=mode, ApiRate="3", ApiBurst="5")
    stage = template.one("AWS::ApiGateway::Stage")
    assert stage["StageName"] == "v1"
    (limits,) = stage["MethodSettings"]
    assert (limits["ResourcePath"], limits["HttpMethod"]) == ("/*", "*")
    assert (limits["ThrottlingRateLimit"], limits["ThrottlingBurstLimit"]) == ("3", "5")
    assert stage["AccessLogSetting"]["DestinationArn"] == "<ApiAccessLogs.Arn>"
    fields = json.loads(stage["AccessLogSetting"]["Format"])
    assert {"requestId", "method", "path", "status"} <= fields.keys()
    # The log holds no API key, no authorizer and no request body.
    assert not re.search(r"\$context\.(identity\.apiKey\b|authorizer|requestOverride)|\$input", str(fields))


@pytest.mark.parametrize("parameter", ["ApiAuthorization", "ApiAllowedOrigins"])
def test_a_change_of_a_condition_deploys_the_api_again(parameter: str) -> None:
    """SAM deploys the stage again if the document changes, which conditions do not do and parameters do."""
    description = source()["Resources"]["Api"]["Properties"]["DefinitionBody"]["info"]["description"]
    assert f"${{{parameter}}}" in description["Fn::Sub"]


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ("", None),
        ("https://a.example", "'https://a.example'"),
        # API Gateway cannot choose between several.
        ("https://a.example,https://b.example", "'*'"),
    ],
)
def test_the_allowed_origins_may_read_every_error_and_send_preflights(
    mode: str, origins: str, allowed: str | None, deployed_with: Callable[..., Template]
) -> None:
    template = deployed_with(ApiAuthorization=mode, ApiAllowedOrigins=origins)
    for kind, response in document(template)["x-amazon-apigateway-gateway-responses"].items():
        headers = response["responseParameters"]
        assert headers.get("gatewayresponse.header.Access-Control-Allow-Origin") == allowed, kind
        assert headers["gatewayresponse.header.Vary"] == "'Origin'"
    preflights = {path for (path, method) in operations(template) if method == "options"}
    assert preflights == (app.app.routes.keys() if origins else set())
    for path in preflights:
        # A browser sends a preflight request without a key.
        assert "security" not in operations(template)[path, "options"]
    assert variables_of(template, "ApiFunction")["ALLOWED_ORIGINS"] == origins


def test_each_limits_error_names_it_and_when_to_try_again(deployed_with: Callable[..., Template]) -> None:
    template = deployed_with(ApiRate="3", ApiBurst="5", ApiDailyQuota="100")
    responses = document(template)["x-amazon-apigateway-gateway-responses"]
    for kind, code, limit, seconds in (
        ("THROTTLED", "throttled", "3 requests a second, and 5 at once", "'1'"),
        ("QUOTA_EXCEEDED", "quota_exceeded", "100 requests of the day", "'3600'"),
    ):
        body = json.loads(responses[kind]["responseTemplates"]["application/json"])
        assert body["code"] == code
        assert limit in body["message"]
        assert "Try again" in body["message"]
        assert responses[kind]["responseParameters"]["gatewayresponse.header.Retry-After"] == seconds


def test_the_function_gets_the_bytes_of_a_body(template: Template) -> None:
    """API Gateway would replace broken UTF-8 in a text."""
    assert document(template)["x-amazon-apigateway-binary-media-types"] == ["*/*"]


def test_gateway_errors_have_the_apis_format(mode: str, deployed_with: Callable[..., Template]) -> None:
    responses = document(deployed_with(ApiAuthorization=mode))["x-amazon-apigateway-gateway-responses"]
    for kind in ("DEFAULT_4XX", "DEFAULT_5XX", "REQUEST_TOO_LARGE", "THROTTLED", "INVALID_API_KEY"):
        assert kind in responses
    for kind, response in responses.items():
        (media_type, text) = next(iter(response["responseTemplates"].items()))
        assert media_type == "application/json"
        body = json.loads(text.replace("$context.error.messageString", '"as API Gateway says"'))
        assert body.keys() == {"code", "message"}, kind
        assert re.fullmatch(r"[a-z_]+", body["code"])


def test_gateway_errors_have_the_status_of_their_kind(
    mode: str, deployed_with: Callable[..., Template]
) -> None:
    responses = document(deployed_with(ApiAuthorization=mode))["x-amazon-apigateway-gateway-responses"]
    statuses = {kind: response.get("statusCode") for kind, response in responses.items()}
    assert statuses["REQUEST_TOO_LARGE"] == "413"
    assert statuses["THROTTLED"] == statuses["QUOTA_EXCEEDED"] == "429"
    assert statuses["INVALID_API_KEY"] == statuses["ACCESS_DENIED"] == "403"
    # API Gateway treats an unsigned request as an unknown path.
    assert statuses["MISSING_AUTHENTICATION_TOKEN"] == {"API_KEY": "404", "AWS_IAM": "403"}[mode]


def test_only_this_api_may_call_the_function(template: Template) -> None:
    permission = template.of("AWS::Lambda::Permission")["ApiFunctionPermission"]
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"] == "arn:aws:execute-api:eu-west-1:123456789012:<Api>/v1/*"
    callers = [
        each["Principal"]
        for each in template.of("AWS::Lambda::Permission").values()
        if each["FunctionName"] == "<ApiFunction>"
    ]
    assert callers == ["apigateway.amazonaws.com"]


def test_an_existing_access_log_role_is_kept(deployed_with: Callable[..., Template]) -> None:
    assert deployed_with(ApiLogsRole="EXISTING").of("AWS::ApiGateway::Account") == {}
    assert len(deployed_with(ApiLogsRole="CREATE").of("AWS::ApiGateway::Account")) == 1
    account = source()["Resources"]["ApiAccessLogsAccount"]
    role = source()["Resources"]["ApiAccessLogsRole"]
    assert account["DeletionPolicy"] == role["DeletionPolicy"] == "Retain"


def test_the_access_log_role_is_set_between_the_api_and_its_stage(
    deployed_with: Callable[..., Template],
) -> None:
    """API Gateway accepts the role after an account's first API, and a stage with logs after the role."""
    template = deployed_with(ApiLogsRole="CREATE")
    assert template.comes_before("Api", "ApiAccessLogsAccount")
    assert template.comes_before("ApiAccessLogsAccount", "Apiv1Stage")
