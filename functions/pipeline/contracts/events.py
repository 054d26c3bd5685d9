"""Events from outside the state machine: EventBridge, alarms and the daily sweep."""

from __future__ import annotations

from pydantic import BaseModel, Field

from contracts.base import Contract


class StateChange(BaseModel):
    """EventBridge's event that a training job or an endpoint changed; only the ARN is read.

    The event's own status is not read: its spelling differs from Describe's, and the event may come late.
    Unknown fields are ignored here, and only here, because AWS adds fields to its events.
    """

    resources: list[str] = Field(min_length=1)


class ExecutionDetail(BaseModel):
    """The part of the event that names the execution."""

    execution_arn: str = Field(alias="executionArn")


class ExecutionChange(BaseModel):
    """EventBridge's event that an execution has ended; only the ARN is read, for the same reasons."""

    detail: ExecutionDetail


class AlarmState(BaseModel):
    """The data that made the alarm go off."""

    reason: str


class AlarmConfiguration(BaseModel):
    """The alarm's own description."""

    description: str = ""


class Alarm(BaseModel):
    """A CloudWatch alarm that went off."""

    name: str = Field(alias="alarmName")
    state: AlarmState
    configuration: AlarmConfiguration


class AlarmChange(BaseModel):
    """EventBridge's event that an alarm has gone off."""

    detail: Alarm


class SweepInput(BaseModel):
    """The schedule's event; nothing in it is read."""


class Swept(Contract):
    """The result of the sweep.

    `orphans` are resources without an owner, as `<kind>/<name>`; `removed` says whether they were deleted;
    `started` are the executions that make up for events that never came.
    """

    orphans: list[str]
    removed: bool
    started: list[str]
