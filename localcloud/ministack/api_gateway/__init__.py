"""API Gateway: an API that a stack creates is complete, and has the URL at which it is served.

gateway_responses  an API that is imported from OpenAPI keeps its gateway responses
urls               the URL of an API in the outputs of a stack
"""

from localcloud.ministack.api_gateway import gateway_responses, urls


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    gateway_responses.patch()
    urls.patch()
