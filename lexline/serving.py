"""What the endpoint serves, from SageMaker and from the tags that the pipeline puts on endpoint configs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from botocore.exceptions import ClientError

from lexline import aws_trouble
from lexline.target import Stack, Target

# The tags: the run that trained the model, the one whose model served before, and when the endpoint is to go.
MODEL, PREVIOUS_MODEL = "lexline:model", "lexline:previous-model"
TAKE_DOWN_AT, TAKE_DOWN_WHEN_IDLE = "lexline:take-down-at", "lexline:take-down-when-idle"
# What an endpoint answers requests in.
_SERVING = {"InService", "Updating", "SystemUpdating", "RollingBack"}


@dataclass(frozen=True)
class Serving:
    """The endpoint as it is now.

    `config` is its endpoint config, named after the run that deployed it; `model` and `previous` are the runs
    that trained what serves and what served before, "" where that is not known. `instances` is 0 for a
    serverless endpoint. `take_down_at` and `take_down_when_idle` (an ISO 8601 duration) tell when it goes.
    """

    status: str
    config: str
    model: str
    previous: str
    instances: int
    take_down_at: datetime | None
    take_down_when_idle: str

    @property
    def answers(self) -> bool:
        """Whether requests are answered."""
        return self.status in _SERVING


def read(target: Target, stack: Stack) -> Serving | None:
    """The endpoint, or None when there is none."""
    try:
        live = target.sagemaker.describe_endpoint(EndpointName=stack.endpoint)
    except ClientError as error:
        if not aws_trouble.is_missing(error):
            raise
        return None
    config = live.get("EndpointConfigName", "")
    tags = (
        _tags(target, f"{live['EndpointArn'].rsplit(':', 1)[0]}:endpoint-config/{config}") if config else {}
    )
    due = tags.get(TAKE_DOWN_AT)
    return Serving(
        status=live["EndpointStatus"],
        config=config,
        model=tags.get(MODEL, ""),
        previous=tags.get(PREVIOUS_MODEL, ""),
        instances=sum(
            variant.get("CurrentInstanceCount", 0) for variant in live.get("ProductionVariants", [])
        ),
        take_down_at=datetime.fromisoformat(due) if due else None,
        take_down_when_idle=tags.get(TAKE_DOWN_WHEN_IDLE, ""),
    )


def _tags(target: Target, arn: str) -> dict[str, str]:
    """A resource's tags, few enough for one page; none for one that is gone."""
    try:
        answer = target.sagemaker.list_tags(ResourceArn=arn)
    except ClientError as error:
        if not aws_trouble.is_missing(error):
            raise
        return {}
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}
