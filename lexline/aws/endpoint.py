"""The endpoint: the model that it serves, and the model that it served before.

SageMaker knows the endpoint's status. The pipeline writes the rest into tags of the endpoint config.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from botocore.exceptions import ClientError

from lexline.aws import client_errors
from lexline.aws.stack import Stack

# The tags: the run that trained the model, the run that trained the model before, and when to tear down.
MODEL, PREVIOUS_MODEL = "lexline:model", "lexline:previous-model"
TEARDOWN_AT, TEARDOWN_WHEN_IDLE = "lexline:teardown-at", "lexline:teardown-when-idle"
# In these states an endpoint serves requests.
_SERVES = {"InService", "Updating", "SystemUpdating", "RollingBack"}


@dataclass(frozen=True)
class Endpoint:
    """The endpoint as it is now.

    Attributes:
        status: SageMaker's status.
        config: Name of the endpoint config, which is the name of the run that deployed it.
        model: The run that trained the model, or "" if unknown.
        previous: The run that trained the model that served before, or "" if there was none.
        instances: Number of instances, 0 for a serverless endpoint.
        teardown_at: When to tear the endpoint down, or None. With `teardown_when_idle`, the time of the next
            idle check.
        teardown_when_idle: ISO 8601 duration without requests after which to tear it down, or "".
    """

    status: str
    config: str
    model: str
    previous: str
    instances: int
    teardown_at: datetime | None
    teardown_when_idle: str

    @property
    def serves(self) -> bool:
        """Whether the endpoint serves requests."""
        return self.status in _SERVES


def read(stack: Stack) -> Endpoint | None:
    """Return the stack's endpoint, or None if it does not exist."""
    try:
        endpoint = stack.target.sagemaker.describe_endpoint(EndpointName=stack.endpoint)
    except ClientError as error:
        if not client_errors.is_missing(error):
            raise
        return None
    config = endpoint.get("EndpointConfigName", "")
    account = endpoint["EndpointArn"].rsplit(":", 1)[0]
    tags = _tags(stack, f"{account}:endpoint-config/{config}") if config else {}
    due = tags.get(TEARDOWN_AT)
    return Endpoint(
        status=endpoint["EndpointStatus"],
        config=config,
        model=tags.get(MODEL, ""),
        previous=tags.get(PREVIOUS_MODEL, ""),
        instances=sum(
            variant.get("CurrentInstanceCount", 0) for variant in endpoint.get("ProductionVariants", [])
        ),
        teardown_at=datetime.fromisoformat(due) if due else None,
        teardown_when_idle=tags.get(TEARDOWN_WHEN_IDLE, ""),
    )


def _tags(stack: Stack, arn: str) -> dict[str, str]:
    # The pipeline sets few tags, so one page has them all. The config may have been deleted since.
    try:
        response = stack.target.sagemaker.list_tags(ResourceArn=arn)
    except ClientError as error:
        if not client_errors.is_missing(error):
            raise
        return {}
    return {tag["Key"]: tag["Value"] for tag in response["Tags"]}
