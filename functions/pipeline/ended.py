"""EventBridge's wake-up when an execution has ended, by whatever way: its lease and its uploads go on."""

from __future__ import annotations

import settings
from contracts import ExecutionChange
from settle import settle
from step import step


@step(ExecutionChange)
def handler(event: ExecutionChange) -> None:
    settle(settings.endpoint_name(), event.detail.execution_arn)
