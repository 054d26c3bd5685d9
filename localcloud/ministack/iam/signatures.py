"""Signatures: no request is served without a verified one.

AWS: every request is signed, except requests to APIs and URLs that are public on purpose. S3 refuses version
2 of the signature for buckets created since June 2020, in headers and in presigned URLs.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingAWSSDK.html#UsingAWSSDK-sig2-deprecation
MiniStack: a request without a key, with the key "test" or with a key of 12 digits acts as the root, and the
root's signature is not verified. MiniStack also serves endpoints of its own without authentication, under
/_ministack/ and /_aws/. It accepts version 2 of the signature.
Here: these requests are refused, and all others are passed on. MiniStack verifies their signatures.
"""

import uuid
from urllib.parse import parse_qs

from localcloud.ministack.core.asgi import Receive, Response, Scope, Send, json_error

_RESPONSES = "/_ministack/cfn-response/"
"""The path, up to the token, to which the function of a custom resource puts its response."""


class RequireSignature:
    """An ASGI application that refuses unsigned requests and passes on all others to MiniStack."""

    def __init__(self) -> None:
        from ministack import app
        from ministack.core import iam_evaluator, router, sigv4
        from ministack.services.cloudformation import custom_resource

        self._app = app
        self._custom_resource = custom_resource
        self._decode = sigv4.decode_header_value
        self._evaluator = iam_evaluator
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            headers = self._headers(scope)
            query = parse_qs(
                scope.get("query_string", b"").decode("utf-8", "replace"), keep_blank_values=True
            )
            refusal = self._refusal(scope["method"], scope["path"], headers, query)
            if refusal is not None:
                await _respond(refusal, receive, send)
                return
        await self._app.app(scope, receive, send)

    def _headers(self, scope: Scope) -> dict[str, str]:
        """Return the headers by lower-case name, decoded and joined exactly as MiniStack does it.

        Otherwise this class could check one of two Authorization headers, and MiniStack could use the other.
        """
        headers: dict[str, str] = {}
        for key, value in scope["headers"]:
            name, text = key.decode("latin-1").lower(), self._decode(value)
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        return headers

    def _refusal(
        self, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]
    ) -> Response | None:
        if path in ("/_ministack/health", "/_ministack/ready"):
            return None
        # The path of a custom resource's response is a secret, like the signature of AWS's pre-signed URL.
        if method == "PUT" and path.removeprefix(_RESPONSES) in self._custom_resource._pending:
            return None
        # Refuse these paths whatever the Host header is: MiniStack matches them before it looks for an API of
        # that host.
        if path.startswith(("/_", "/health")) and not path.startswith("/_aws/execute-api/"):
            return json_error(403, "AccessDeniedException", "The local cloud does not serve this path.")
        # The API authorizes its requests itself: with a key, with IAM or not at all, as its template says.
        if self._app._parse_execute_api_url(headers.get("host", ""), path) is not None:
            return None
        authorization = headers.get("authorization", "")
        if authorization.startswith("AWS ") or {"AWSAccessKeyId", "Signature"} <= query.keys():
            code, message = "UnsupportedSignature", "Please use AWS4-HMAC-SHA256."
        elif not authorization.startswith("AWS4-HMAC-SHA256 ") and "X-Amz-Signature" not in query:
            code, message = "MissingAuthenticationToken", "Missing Authentication Token"
        elif self._evaluator.is_root_access_key(self._router.extract_access_key_id(headers, query)):
            code, message = "InvalidClientTokenId", "The security token included in the request is invalid."
        else:
            return None
        service = self._router.detect_service(method, path, headers, query)
        if service == "unknown_query":
            service = "iam"
        failure = self._evaluator.AuthError(code, message)
        # This function translates the error into the protocol of each service.
        response: Response = self._app._credential_failure(service, "", str(uuid.uuid4()), failure, headers)
        return response


async def _respond(response: Response, receive: Receive, send: Send) -> None:
    status, headers, body = response
    while (await receive()).get("more_body"):
        pass
    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
