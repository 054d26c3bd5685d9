"""docs/api.md agrees with the code and the template about errors and limits."""

import json
import re

from chalicelib.errors import ApiError
from tests.unit.docs.tables import rows
from tests.unit.template.conftest import Template, source

OF_THE_APP = {("404", "not_found"), ("405", "method_not_allowed"), ("415", "unsupported_media_type")}
"""The app's errors that are not an ApiError. test_api_routes.py checks them."""


def test_the_errors_are_those_of_the_function_and_of_api_gateway() -> None:
    documented = {
        (status, row["code"].strip("`"))
        for row in rows("api.md", "code")
        for status in row["status"].split(", ")
    }
    expected = {(str(error.status), error("").code) for error in ApiError.__subclasses__()} | OF_THE_APP
    for mode in ("API_KEY", "AWS_IAM"):
        api = Template(ApiAuthorization=mode).one("AWS::ApiGateway::RestApi")["Body"]
        for kind, response in api["x-amazon-apigateway-gateway-responses"].items():
            text = response["responseTemplates"]["application/json"]
            code = json.loads(text.replace("$context.error.messageString", '""'))["code"]
            fallback = {"DEFAULT_4XX": "403", "DEFAULT_5XX": "500"}.get(kind)
            expected.add((response.get("statusCode", fallback), code))
    assert documented == expected


def test_the_limits_are_the_templates() -> None:
    parameters = source()["Parameters"]
    documented = {}
    for row in rows("api.md", "parameter of the stack"):
        (name,) = re.findall(r"`(\w+)`", row["parameter of the stack"])
        documented[name] = row["default"].replace(",", "")
    assert documented == {
        name: parameters[name]["Default"] for name in ("ApiRate", "ApiBurst", "ApiDailyQuota")
    }
