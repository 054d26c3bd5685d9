"""EventBridge's wake-up when one of the deployment's alarms goes off: people are told of it on the topic."""

from __future__ import annotations

from contracts.events import AlarmChange
from entry_point import step
from reporting import messages


@step(AlarmChange)
def handler(event: AlarmChange) -> None:
    messages.alarm(event.detail)
