"""API Gateway: an API that a stack creates is complete, and has the URL at which it is served.

access_logs         a stage with an access log needs the account's role for logs
binary_media_types  an API that is imported from OpenAPI keeps its binary media types
function_errors     the response to a request whose function fails
gateway_responses   an API that is imported from OpenAPI keeps its gateway responses
urls                the URL of an API in the outputs of a stack
"""

from localcloud.ministack.api_gateway import (
    access_logs,
    binary_media_types,
    function_errors,
    gateway_responses,
    urls,
)


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    access_logs.patch()
    binary_media_types.patch()
    function_errors.patch()
    gateway_responses.patch()
    urls.patch()
