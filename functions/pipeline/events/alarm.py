"""EventBridge's event that one of the deployment's alarms went off: send a message to the topic."""

from contracts.events import AlarmChange
from entry_point import step
from reporting import sns_messages


@step(AlarmChange)
def handler(event: AlarmChange) -> None:
    """Send the message."""
    sns_messages.alarm(event)
