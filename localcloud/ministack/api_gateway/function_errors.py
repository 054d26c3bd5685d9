"""The response to a request whose function fails.

AWS: the status is 502, and the body and headers are those of the gateway response DEFAULT_5XX.
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
MiniStack: the response has status 502 and the function's stack trace, whatever the gateway responses are.
Here: the response is the one of AWS.
"""

import functools
from typing import Any


class _FunctionFailed(Exception):
    """The function of a proxy integration raised, crashed or timed out."""


def patch() -> None:
    """Return DEFAULT_5XX if a function fails."""
    from ministack.services import apigateway_v1 as apigateway

    proxy_response = apigateway._lambda_proxy_response
    execute = apigateway._execute_in_scope

    @functools.wraps(proxy_response)
    def raise_if_failed(result: dict[str, Any]) -> Any:
        response, error = proxy_response(result)
        if error:
            raise _FunctionFailed(error)
        return response, None

    @functools.wraps(execute)
    async def execute_and_translate(request: dict[str, Any], *args: Any) -> Any:
        try:
            return await execute(request, *args)
        except _FunctionFailed:
            error = apigateway._gw_error("DEFAULT_5XX", "Internal server error")
            _, headers, body = apigateway._gateway_error_response(error, request)
            return 502, headers, body

    apigateway._lambda_proxy_response = raise_if_failed
    apigateway._execute_in_scope = execute_and_translate
