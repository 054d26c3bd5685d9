"""A machine's history goes to the log group that it names, at the level it names.

MiniStack keeps a machine's loggingConfiguration and does nothing with it. Nobody's permission to write the
log is asked for here; on AWS the machine's role needs it.
https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
"""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

Log = Callable[[str, str, list[tuple[int, str]]], None]

_FATAL = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
_LOGGED = {"FATAL": _FATAL, "ERROR": (*_FATAL, "TaskFailed", "TaskTimedOut", "FailStateEntered")}
"""The history's events that a machine's log gets at each level; at ALL it gets every one."""


def mend(log: Log) -> None:
    """Write each event of a history to the machine's log as well."""
    from ministack.services import stepfunctions as states

    add = states._add_event

    @functools.wraps(add)
    def adding(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
        event = add(execution, event_type, details)
        # TestState runs a state of no machine.
        machine = states._state_machines.get(execution.get("stateMachineArn")) or {}
        _write(log, machine, execution, event)
        return event

    states._add_event = adding


def _write(log: Log, machine: dict[str, Any], execution: dict[str, Any], event: dict[str, Any]) -> None:
    configuration = machine.get("loggingConfiguration") or {}
    level = configuration.get("level", "OFF")
    if level != "ALL" and event["type"] not in _LOGGED.get(level, ()):
        return
    told: dict[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    if not configuration.get("includeExecutionData"):
        told = {key: value for key, value in told.items() if key not in ("input", "output")}
    now = int(time.time() * 1000)
    line = json.dumps(
        {
            "id": str(event["id"]),
            "type": event["type"],
            "details": told,
            "previous_event_id": str(event.get("previousEventId", 0)),
            "event_timestamp": str(now),
            "execution_arn": execution["executionArn"],
            "redrive_count": "0",
        }
    )
    stream = f"states/{machine['name']}/{time.strftime('%Y-%m-%d-%H-%M', time.gmtime(now / 1000))}"
    for destination in configuration.get("destinations", []):
        arn = destination["cloudWatchLogsLogGroup"]["logGroupArn"]
        log(arn.split(":log-group:")[1].removesuffix(":*"), stream, [(now, line)])
