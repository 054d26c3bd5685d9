"""What everybody is told of an execution's start and end: an event, and metrics.

On AWS the event says what DescribeExecution says, an abort's error and cause too, and leaves out an input or
output that is too large. MiniStack tells error and cause of failures alone, measures input and output one
by one and not as they are escaped, and has no metrics of executions.
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
"""

import json
import logging
from datetime import datetime
from typing import Any

logger = logging.getLogger("localcloud")

_LIMIT = 248 * 1024
"""Bytes of escaped input and output that an event takes (the documentation's "248 KiB")."""
_METRICS = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "ABORTED": "ExecutionsAborted",
    "TIMED_OUT": "ExecutionsTimedOut",
}


def mend() -> None:
    """Tell of every change from here."""
    from ministack.services import stepfunctions as states

    states._emit_execution_status_event = _tell


def _tell(execution: dict[str, Any]) -> None:
    """Put the event on the default bus, and the metrics.

    Targets are called on threads of their own, and nothing that goes wrong here reaches the execution: AWS
    promises no more than its best effort.
    """
    from ministack.services import eventbridge

    # An express workflow's tells neither.
    if execution.get("sync"):
        return
    detail = _detail(execution)
    entry = {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Detail": json.dumps(detail),
        "Resources": [execution["executionArn"]],
    }
    try:
        _measure(detail)
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:
        logger.exception("Nobody was told that %s is %s", execution["executionArn"], execution["status"])


def _detail(execution: dict[str, Any]) -> dict[str, Any]:
    status = execution["status"]
    given, output = execution["input"], execution["output"]
    keeps_output = output is not None and _escaped(output) <= _LIMIT
    keeps_input = _escaped(given) + (_escaped(output) if output is not None else 0) <= _LIMIT
    return {
        **{name: execution[name] for name in ("executionArn", "stateMachineArn", "name", "status")},
        "startDate": _milliseconds(execution["startDate"]),
        "stopDate": _milliseconds(execution["stopDate"]),
        "input": given if keeps_input else None,
        "inputDetails": {"included": keeps_input},
        "output": output if keeps_output else None,
        "outputDetails": {"included": keeps_output} if output is not None else None,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "NOT_REDRIVABLE" if status in ("RUNNING", "SUCCEEDED") else "REDRIVABLE",
        "redriveStatusReason": None,
        "error": execution.get("error"),
        "cause": execution.get("cause"),
    }


def _measure(detail: dict[str, Any]) -> None:
    from ministack.services import cloudwatch

    of_machine = {"StateMachineArn": detail["stateMachineArn"]}
    cloudwatch.record_metric("AWS/States", _METRICS[detail["status"]], 1, "Count", of_machine)
    if detail["stopDate"] is not None:
        took = detail["stopDate"] - detail["startDate"]
        cloudwatch.record_metric("AWS/States", "ExecutionTime", took, "Milliseconds", of_machine)


def _escaped(text: str) -> int:
    """How many bytes a text takes as a JSON string, without its quotes."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def _milliseconds(moment: str | None) -> int | None:
    return None if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)
