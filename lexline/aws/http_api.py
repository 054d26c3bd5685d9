"""Client of the deployed HTTP API. It sends the API key, or signs the requests (AWS_IAM)."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

from botocore import exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from lexline.aws.stack import Stack
from lexline.core.errors import UsageError, UserError

_TIMEOUTS = (10, 35)
"""Seconds to wait for the connection and for the response. API Gateway responds within 29 seconds."""
_HINTS = {
    "not_found": "An earlier version may have deployed the stack. Update it with `lexline up`.",
    "no_endpoint": "`lexline run FILE` trains and deploys a model.",
    "deploying": "`lexline status` shows the progress.",
    "model_failed": "`lexline logs --source endpoint` shows the model's output.",
    "model_unavailable": "If this goes on, see `lexline logs --source endpoint`.",
    "model_unreachable": "See `lexline status` and `lexline logs --source endpoint`.",
    "internal_server_error": "`lexline logs --source functions` shows what went wrong.",
}
"""The next step for each error code of the API."""


class HttpApi:
    """The HTTP API of one stack.

    All methods raise a UserError with the API's own message if the API returns an error or cannot be reached.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._target = stack.target

    def api_key(self) -> str:
        """Return the API key, which the stack must have."""
        return self._target.apigateway.get_api_key(apiKey=self._stack.api_key_id, includeValue=True)["value"]

    def get(self, path: str) -> dict[str, Any]:
        """Send a GET request and return the JSON of the response."""
        return self._send("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a POST request and return the JSON of the response."""
        return self._send("POST", path, json.dumps(body))

    def curl(self, path: str, body: dict[str, Any]) -> str:
        """Return a shell command that sends a POST request with curl.

        It contains the API key. With AWS_IAM it refers to the environment variables for AWS keys instead.
        """
        words = ["curl", "-sS", "-X", "POST", f"{self._stack.api_url}{path}"]
        words += ["-H", "Content-Type: application/json"]
        if self._stack.api_key_id:
            command = shlex.join([*words, "-H", f"x-api-key: {self.api_key()}"])
        else:
            command = (
                f'{shlex.join(words)} --aws-sigv4 "aws:amz:{self._target.region}:execute-api"'
                ' --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
                ' -H "x-amz-security-token: $AWS_SESSION_TOKEN"'
            )
        return f"{command} -d {shlex.quote(json.dumps(body))}"

    def _http(self) -> URLLib3Session:
        """Return an HTTP session that takes the route of boto3's clients: proxies, certificates."""
        options: dict[str, Any] = {"timeout": _TIMEOUTS}
        if not self._target.local:
            bundle = self._target.session._session.get_config_variable("ca_bundle")
            options["verify"] = bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True
            options["proxies"] = get_environ_proxies(self._stack.api_url)
        return URLLib3Session(**options)

    def _send(self, method: str, path: str, body: str | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if body else {}
        if self._stack.api_key_id:
            headers["x-api-key"] = self.api_key()
        request = AWSRequest(method, f"{self._stack.api_url}{path}", headers, body)
        if not self._stack.api_key_id:
            credentials = self._target.session.get_credentials()
            if credentials is None:
                raise exceptions.NoCredentialsError
            SigV4Auth(credentials, "execute-api", self._target.region).add_auth(request)
        try:
            response = self._http().send(request.prepare())
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise UserError(
                f"The API at {self._stack.api_url} does not respond: {error}",
                "Run `lexline status` to see the stack.",
            ) from error
        try:
            content = json.loads(response.text)
        except ValueError:
            content = None
        if response.status_code >= 400 or not isinstance(content, dict):
            raise _error(response.status_code, content if isinstance(content, dict) else {})
        return content


def _error(status: int, body: dict[str, Any]) -> UserError:
    message = body.get("message") or f"The API returned HTTP status {status}."
    if body.get("code") == "invalid_request":
        return UsageError(message, "Correct the options. `lexline generate --help` describes them.")
    return UserError(message, _HINTS.get(str(body.get("code")), ""))
