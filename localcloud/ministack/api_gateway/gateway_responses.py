"""The gateway responses of an API that is imported from an OpenAPI document.

AWS: x-amazon-apigateway-gateway-responses in the document sets the response to a request that API Gateway
itself refuses.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-gateway-responses.html
MiniStack: the import reads the paths, integrations and authorization, and ignores the gateway responses.
Here: after each import, the gateway responses of the document are added to the API.
"""

import functools
from typing import Any


def patch() -> None:
    """Add the document's gateway responses after each import."""
    from ministack.services import apigateway_v1 as apigateway

    import_api = apigateway._import_rest_api

    @functools.wraps(import_api)
    def import_with_responses(spec: dict[str, Any], base_data: dict[str, Any] | None = None) -> str:
        api_id: str = import_api(spec, base_data)
        for response_type, response in spec.get("x-amazon-apigateway-gateway-responses", {}).items():
            status, _, body = apigateway._put_gateway_response(api_id, response_type, response)
            if status >= 400:
                raise ValueError(f"Gateway response {response_type}: {body!r}")
        return api_id

    apigateway._import_rest_api = import_with_responses
