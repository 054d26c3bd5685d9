"""Writing to CloudWatch Logs from inside the local cloud."""

import threading

_lock = threading.Lock()


def append(group: str, stream: str, lines: list[tuple[int, str]]) -> None:
    """Append lines to a log stream, and create the group and the stream if they do not exist.

    Args:
        group: The log group's name.
        stream: The log stream's name.
        lines: Pairs of milliseconds since the epoch and message.
    """
    from ministack.services import cloudwatch_logs as logs

    name = {"logGroupName": group}
    with _lock:
        # Both return ResourceAlreadyExistsException if it exists, which does not matter here.
        logs._create_log_group(dict(name))
        logs._create_log_stream({**name, "logStreamName": stream})
        events = [{"timestamp": timestamp, "message": message} for timestamp, message in lines]
        logs._put_log_events({**name, "logStreamName": stream, "logEvents": events})
