"""Events from outside the state machine: EventBridge, alarms and the daily sweep."""

from pydantic import AliasPath, BaseModel, Field

from contracts.base import Contract


class StateChange(BaseModel):
    """EventBridge's event that a training job or an endpoint changed; only the ARN is read.

    The event's own status is not read: its spelling differs from Describe's, and the event may come late.
    Unknown fields are ignored here, and only here, because AWS adds fields to its events.
    """

    resources: list[str] = Field(min_length=1)


class ExecutionChange(BaseModel):
    """EventBridge's event that an execution has ended; only the ARN is read, for the same reasons."""

    execution_arn: str = Field(validation_alias=AliasPath("detail", "executionArn"))


class AlarmChange(BaseModel):
    """EventBridge's event that an alarm has gone off; `reason` has the data that made it go off."""

    name: str = Field(validation_alias=AliasPath("detail", "alarmName"))
    reason: str = Field(validation_alias=AliasPath("detail", "state", "reason"))
    description: str = Field("", validation_alias=AliasPath("detail", "configuration", "description"))


class SweepInput(BaseModel):
    """The schedule's event; nothing in it is read."""


class Swept(Contract):
    """The result of the daily sweep.

    `orphans` are resources without an owner, as `<kind>/<name>`; `removed` says whether they were deleted.
    `foreign` are sentences about resources that look like orphans but are not this stack's, so they stay.
    `started` are the executions that the sweep started because their own events never came.
    """

    orphans: list[str]
    removed: bool
    foreign: list[str]
    started: list[str]
