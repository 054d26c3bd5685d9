"""The access log of a stage.

AWS: API Gateway writes it with one role for each account and region, and refuses a stage with an access log
while the account has no such role.
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
MiniStack: a stack creates the stage without looking for the role.
Here: the stage is refused as on AWS.
"""

import functools
from typing import Any


def patch() -> None:
    """Check that the account has a role before a stack creates a stage with an access log."""
    from ministack.services import apigateway_v1 as apigateway
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::Stage"]
    create = handlers["create"]

    @functools.wraps(create)
    def create_if_logged(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        settings = apigateway._account_settings.get("settings") or {}
        if properties.get("AccessLogSetting") and not settings.get("cloudwatchRoleArn"):
            raise ValueError(
                "CloudWatch Logs role ARN must be set in account settings to enable logging "
                "(Service: ApiGateway, Status Code: 400, Error Code: BadRequestException)"
            )
        return create(logical_id, properties, stack)

    handlers["create"] = create_if_logged
