"""Events from outside the state machine: EventBridge, alarms and the daily sweep."""

from __future__ import annotations

from pydantic import BaseModel, Field

from contracts.base import Contract


class StateChange(BaseModel):
    """EventBridge's word that a training job or an endpoint changed; only its ARN is read.

    The event's own status is not: its spelling differs from Describe's, and it may come late. AWS adds fields
    to its events at will, so unknown ones are ignored here and only here.
    """

    resources: list[str] = Field(min_length=1)


class ExecutionDetail(BaseModel):
    execution_arn: str = Field(alias="executionArn")


class ExecutionChange(BaseModel):
    """EventBridge's word that an execution has ended; only its ARN is read, for the same reasons."""

    detail: ExecutionDetail


class AlarmState(BaseModel):
    reason: str


class AlarmConfiguration(BaseModel):
    description: str = ""


class Alarm(BaseModel):
    """A CloudWatch alarm that went off: what it stands for, and the data that set it off."""

    name: str = Field(alias="alarmName")
    state: AlarmState
    configuration: AlarmConfiguration


class AlarmChange(BaseModel):
    """EventBridge's word that an alarm has gone off."""

    detail: Alarm


class SweepInput(BaseModel):
    """The schedule's event, of which nothing is read."""


class Swept(Contract):
    """What the sweep found.

    `orphans` are `<kind>/<name>`, `removed` says whether they are gone now, `started` are executions that
    make up for events that never came.
    """

    orphans: list[str]
    removed: bool
    started: list[str]
