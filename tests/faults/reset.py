"""Nothing of one test is left for the next: done inside the server, because hundreds of tests ask for it."""

from typing import Any

from localcloud.ministack.step_functions import executions


def time_out(arn: str) -> None:
    """End the execution as its machine's TimeoutSeconds would. Raises KeyError when there is none."""
    from ministack.services import stepfunctions as states

    executions._time_out(states._executions[arn], _tokens().wake)


def end_executions() -> None:
    """Abort every execution that runs, and forget them all."""
    from ministack.services import stepfunctions as states

    for arn, execution in list(states._executions.items()):
        if execution["status"] == "RUNNING":
            execution["status"] = "ABORTED"
            execution["stopDate"] = executions.now()
            _tokens().wake(arn)
    states._executions.clear()


def empty(keep: list[str]) -> None:
    """Remove the items of every table, and every object but for those whose keys begin with one of `keep`."""
    from ministack.services import dynamodb, eventbridge, s3

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


def _tokens() -> Any:
    from ministack.services import stepfunctions as states

    return states._invoke_with_callback.__wrapped__.__self__  # timing.TokenWaits is around it
