"""The gate: nothing is served without a verified signature.

MiniStack treats a missing key, "test" and any 12 digits as the root, takes the root's word for it, and has
unauthenticated helpers of its own (under /_ministack/ and /_aws/). AWS has none of these.
"""

import uuid
from urllib.parse import parse_qs

from localcloud.ministack.asgi import Answer, Receive, Scope, Send, json_error

_ANSWERS = "/_ministack/cfn-response/"
"""Before the token, in the URL that the function of a custom resource puts its answer to."""


class Gate:
    """An ASGI application: refuses what MiniStack would serve unsigned, hands it everything else.

    A signature that is there is MiniStack's to verify.
    """

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
                await _answer(refusal, receive, send)
                return
        await self._app.app(scope, receive, send)

    def _headers(self, scope: Scope) -> dict[str, str]:
        """By lower-case name, decoded and joined as MiniStack does it: what is judged is then what it reads.

        Of two Authorization headers it would otherwise take the one that was not looked at.
        """
        headers: dict[str, str] = {}
        for key, value in scope["headers"]:
            name, text = key.decode("latin-1").lower(), self._decode(value)
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        return headers

    def _refusal(
        self, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]
    ) -> Answer | None:
        if path in ("/_ministack/health", "/_ministack/ready"):
            return None
        # The answer of a custom resource: its path is the secret, as a pre-signed URL's signature is on AWS.
        if method == "PUT" and path.removeprefix(_ANSWERS) in self._custom_resource._pending:
            return None
        # Whatever the Host header says: MiniStack looks at these paths before it looks for an API.
        if path.startswith(("/_", "/health")) and not path.startswith("/_aws/execute-api/"):
            return json_error(403, "AccessDeniedException", "There is nothing here.")
        # Authorized by the API itself: key, IAM or none, as its template says.
        if self._app._parse_execute_api_url(headers.get("host", ""), path) is not None:
            return None
        authorization = headers.get("authorization", "")
        if not authorization.startswith("AWS4-HMAC-SHA256 ") and "X-Amz-Signature" not in query:
            code, message = "MissingAuthenticationToken", "Missing Authentication Token"
        elif self._evaluator.is_root_access_key(self._router.extract_access_key_id(headers, query)):
            code, message = "InvalidClientTokenId", "The security token included in the request is invalid."
        else:
            return None
        service = self._router.detect_service(method, path, headers, query)
        if service == "unknown_query":
            service = "iam"
        failure = self._evaluator.AuthError(code, message)
        # It knows the protocol, and the name of the error in it, of every service.
        answer: Answer = self._app._credential_failure(service, "", str(uuid.uuid4()), failure, headers)
        return answer


async def _answer(answer: Answer, receive: Receive, send: Send) -> None:
    status, headers, body = answer
    while (await receive()).get("more_body"):
        pass
    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
