"""API Gateway.

An API that is imported from OpenAPI keeps its gateway responses (`gateway_responses`) and its binary media
types (`binary_media_types`). A function that fails gives AWS's response (`function_errors`).
"""

from localcloud.ministack.api_gateway import binary_media_types, function_errors, gateway_responses


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    gateway_responses.patch()
    binary_media_types.patch()
    function_errors.patch()
