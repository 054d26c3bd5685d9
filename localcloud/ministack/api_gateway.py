"""API Gateway: an imported API has the gateway responses of its document.

On AWS x-amazon-apigateway-gateway-responses says what a caller is told whose request the API itself refuses.
MiniStack imports the paths, their integrations and who may call them, and passes over these.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-gateway-responses.html
"""

import functools
from typing import Any


def mend() -> None:
    """Add the gateway responses to what is imported from OpenAPI."""
    from ministack.services import apigateway_v1 as apigateway

    original = apigateway._import_rest_api

    @functools.wraps(original)
    def importing(spec: dict[str, Any], base_data: dict[str, Any] | None = None) -> str:
        api_id: str = original(spec, base_data)
        for response_type, response in spec.get("x-amazon-apigateway-gateway-responses", {}).items():
            status, _, body = apigateway._put_gateway_response(api_id, response_type, response)
            if status >= 400:
                raise ValueError(f"Gateway response {response_type}: {body!r}")
        return api_id

    apigateway._import_rest_api = importing
