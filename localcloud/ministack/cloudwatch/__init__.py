"""CloudWatch: alarms and metrics as on AWS, and access for the services that the local cloud adds.

alarm_evaluation  the state of an alarm
alarm_events      an event for each change of an alarm's state
embedded_metrics  metrics in log lines
logs              writing to a log stream
measurements      writing metrics
"""

from localcloud.ministack.cloudwatch import alarm_evaluation, alarm_events, embedded_metrics


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    alarm_events.patch()
    embedded_metrics.patch()
    alarm_evaluation.patch()
