"""The binary media types of an API that is imported from an OpenAPI document.

AWS: x-amazon-apigateway-binary-media-types in the document lists the media types of bodies that a function
gets as base64. API Gateway decodes all other bodies as UTF-8.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-binary-media-types.html
MiniStack: the import ignores the list. A body of an API with such a list is handled as on AWS.
Here: the import keeps the list.
"""

import functools
from typing import Any


def patch() -> None:
    """Keep the document's binary media types at each import."""
    from ministack.services import apigateway_v1 as apigateway

    import_api = apigateway._import_rest_api

    @functools.wraps(import_api)
    def import_with_media_types(spec: dict[str, Any], base_data: dict[str, Any] | None = None) -> str:
        listed = spec.get("x-amazon-apigateway-binary-media-types", [])
        data = dict(base_data or {})
        api_id: str = import_api(
            spec, {**data, "binaryMediaTypes": [*data.get("binaryMediaTypes", []), *listed]}
        )
        return api_id

    apigateway._import_rest_api = import_with_media_types
