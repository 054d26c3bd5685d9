"""Calls the deployed HTTP API as its callers do: with the API key, or with a signed request (AWS_IAM)."""

from __future__ import annotations

import json
import shlex
from typing import Any

from botocore import exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from lexline.errors import UserError
from lexline.target import Stack, Target

_TIMEOUT_SECONDS = 35
"""API Gateway answers within 29 s, if only to say that it was too long."""


class HttpApi:
    """The API of one stack."""

    def __init__(self, target: Target, stack: Stack) -> None:
        self._target = target
        self._stack = stack

    def get(self, path: str) -> dict[str, Any]:
        """The JSON of a GET. Raises UserError with the API's own sentence when it answers with an error."""
        return self._send("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON of a POST. Raises UserError with the API's own sentence when it answers with an error."""
        return self._send("POST", path, json.dumps(body))

    def curl(self, path: str, body: dict[str, Any]) -> str:
        """The command line that sends this POST.

        It holds the API key; with AWS_IAM, the names of the variables that hold the caller's AWS keys.
        """
        words = ["curl", "-sS", "-X", "POST", f"{self._stack.api_url}{path}"]
        words += ["-H", "Content-Type: application/json"]
        if self._stack.api_key_id:
            words += ["-H", f"x-api-key: {self._api_key()}"]
        quoted = shlex.join(words)
        if not self._stack.api_key_id:
            quoted += (
                f' --aws-sigv4 "aws:amz:{self._target.session.region_name}:execute-api"'
                ' --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
                ' -H "x-amz-security-token: $AWS_SESSION_TOKEN"'
            )
        return f"{quoted} -d {shlex.quote(json.dumps(body))}"

    def _api_key(self) -> str:
        return self._target.apigateway.get_api_key(apiKey=self._stack.api_key_id, includeValue=True)["value"]

    def _send(self, method: str, path: str, body: str | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if body else {}
        if self._stack.api_key_id:
            headers["x-api-key"] = self._api_key()
        request = AWSRequest(method, f"{self._stack.api_url}{path}", headers, body)
        if not self._stack.api_key_id:
            credentials = self._target.session.get_credentials()
            if credentials is None:
                raise exceptions.NoCredentialsError
            SigV4Auth(credentials, "execute-api", self._target.session.region_name).add_auth(request)
        try:
            response = URLLib3Session(timeout=_TIMEOUT_SECONDS).send(request.prepare())
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise UserError(
                f"The API at {self._stack.api_url} does not answer.", "`lexline status` may say why."
            ) from error
        try:
            answer = json.loads(response.text)
        except ValueError:
            answer = {}
        if response.status_code >= 400 or not isinstance(answer, dict):
            raise _refusal(response.status_code, answer)
        return answer


def _refusal(status: int, answer: Any) -> UserError:
    body = answer if isinstance(answer, dict) else {}
    message = body.get("message") or f"The API answered with HTTP status {status}."
    fields = "".join(f"\n  {error['field']} {error['message']}" for error in body.get("errors", []))
    hints = {
        "no_endpoint": "`lexline run FILE` trains and deploys a model.",
        "deploying": "`lexline status` tells how far it is.",
        "model_failed": "`lexline logs --source endpoint` shows what the model said.",
        "model_unreachable": "`lexline status` and `lexline logs --source endpoint` may say why.",
        "internal_server_error": "`lexline logs --source functions` shows what went wrong.",
    }
    return UserError(f"{message}{fields}", hints.get(str(body.get("code")), ""))
