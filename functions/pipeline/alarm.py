"""EventBridge's wake-up when one of the deployment's alarms goes off: people are told of it on the topic."""

from __future__ import annotations

import messages
from contracts import AlarmChange
from step import step


@step(AlarmChange)
def handler(event: AlarmChange) -> None:
    messages.alarm(event.detail)
