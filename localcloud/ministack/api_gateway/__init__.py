"""API Gateway: an API that is imported from OpenAPI keeps its gateway responses (`gateway_responses`)."""

from localcloud.ministack.api_gateway import gateway_responses


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    gateway_responses.patch()
