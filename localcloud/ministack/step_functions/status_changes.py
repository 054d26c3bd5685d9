"""The event and the CloudWatch metrics for each start and end of an execution.

AWS: the event contains what DescribeExecution returns, with error and cause of an aborted execution too.
Input or output is left out if it is too large. CloudWatch counts the executions by their ends.
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
MiniStack: the event contains error and cause of failures only. Input and output are measured one by one and
before they are escaped. There are no metrics of executions.
Here: this module puts the event and the metrics.
"""

import json
import logging
from datetime import datetime
from typing import Any

from localcloud.ministack.eventbridge.service_events import put_event

logger = logging.getLogger("localcloud")

_MAX_BYTES = 248 * 1024
"""The limit for escaped input and output in an event; "248 KiB" in the documentation."""
_METRICS = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "ABORTED": "ExecutionsAborted",
    "TIMED_OUT": "ExecutionsTimedOut",
}


def patch() -> None:
    """Replace MiniStack's event."""
    from ministack.services import stepfunctions as states

    states._emit_execution_status_event = _emit


def _emit(execution: dict[str, Any]) -> None:
    """Put the event and the CloudWatch metrics.

    Targets run in threads of their own, and an error here does not reach the execution: AWS sends these
    events on a best-effort basis.
    """
    # Executions of express workflows have neither.
    if execution.get("sync"):
        return
    detail, arn = _detail(execution), execution["executionArn"]
    try:
        _put_metrics(detail)
        put_event("aws.states", "Step Functions Execution Status Change", detail, [arn])
    except Exception:
        logger.exception("%s is %s, but the event could not be sent", arn, execution["status"])


def _detail(execution: dict[str, Any]) -> dict[str, Any]:
    status = execution["status"]
    data, output = execution["input"], execution["output"]
    has_output = output is not None and _escaped(output) <= _MAX_BYTES
    has_input = _escaped(data) + (_escaped(output) if output is not None else 0) <= _MAX_BYTES
    return {
        **{name: execution[name] for name in ("executionArn", "stateMachineArn", "name", "status")},
        "startDate": _milliseconds(execution["startDate"]),
        "stopDate": _milliseconds(execution["stopDate"]),
        "input": data if has_input else None,
        "inputDetails": {"included": has_input},
        "output": output if has_output else None,
        "outputDetails": {"included": has_output} if output is not None else None,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "NOT_REDRIVABLE" if status in ("RUNNING", "SUCCEEDED") else "REDRIVABLE",
        "redriveStatusReason": None,
        "error": execution.get("error"),
        "cause": execution.get("cause"),
    }


def _put_metrics(detail: dict[str, Any]) -> None:
    from ministack.services import cloudwatch

    dimensions = {"StateMachineArn": detail["stateMachineArn"]}
    cloudwatch.record_metric("AWS/States", _METRICS[detail["status"]], 1, "Count", dimensions)
    if detail["stopDate"] is not None:
        duration = detail["stopDate"] - detail["startDate"]
        cloudwatch.record_metric("AWS/States", "ExecutionTime", duration, "Milliseconds", dimensions)


def _escaped(text: str) -> int:
    """Return the number of bytes of a text as a JSON string, without its quotes."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def _milliseconds(moment: str | None) -> int | None:
    return None if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)
