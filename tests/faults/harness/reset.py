"""The end of executions, and the removal of what a test left.

It runs in the server, because tests reset the cloud hundreds of times.
"""

from typing import Any

from localcloud.ministack.step_functions import executions


def time_out(arn: str) -> None:
    """End the execution as the TimeoutSeconds of its state machine does."""
    from ministack.services import stepfunctions as states

    executions._time_out(states._executions[arn], _task_tokens().wake)


def end_executions() -> None:
    """Abort every execution in progress, and remove all of them."""
    from ministack.services import stepfunctions as states

    for arn, execution in list(states._executions.items()):
        if execution["status"] == "RUNNING":
            execution["status"] = "ABORTED"
            execution["stopDate"] = executions.now()
            _task_tokens().wake(arn)
    states._executions.clear()


def empty(keep: list[str]) -> None:
    """Remove items of tables, metrics, alarms' states, and objects whose key starts with none of `keep`."""
    from ministack.services import cloudwatch, dynamodb, eventbridge, s3

    cloudwatch._metrics.clear()
    for alarm in cloudwatch._alarms.values():
        alarm["StateValue"] = "OK"

    for table in dynamodb._tables.values():
        table["items"].clear()
        dynamodb._items_replaced(table)
    eventbridge._events_log_list().clear()
    kept = tuple(keep)
    for bucket, key in list(s3._object_versions):
        if not key.startswith(kept):
            for version in list(s3._object_versions[bucket, key]):
                s3._delete_object_version(s3._buckets[bucket], bucket, key, version["version_id"])
    for bucket, record in s3._buckets.items():
        for key in [key for key in record["objects"] if not key.startswith(kept)]:
            s3._purge_current_object(bucket, key, record)


def _task_tokens() -> Any:
    from ministack.services import stepfunctions as states

    return states._invoke_with_callback.__wrapped__.__self__  # wait_times.TokenWaits wraps its method.
