"""The log of a state machine.

AWS: the events of an execution's history go to the log group that the state machine names, at the level that
it names. The state machine's role must allow it.
https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
MiniStack: it stores the loggingConfiguration and writes no log.
Here: each event is written to the log. The role is not asked.
"""

import functools
import json
import time
from typing import Any

from localcloud.ministack.cloudwatch import logs
from localcloud.ministack.step_functions.executions import machine_of

_FATAL = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
_LOGGED = {"FATAL": _FATAL, "ERROR": (*_FATAL, "TaskFailed", "TaskTimedOut", "FailStateEntered")}
"""The events that are logged at each level. The level ALL logs every event."""


def patch() -> None:
    """Write each event of a history to the state machine's log as well."""
    from ministack.services import stepfunctions as states

    add = states._add_event

    @functools.wraps(add)
    def add_and_log(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
        event = add(execution, event_type, details)
        # TestState runs a state without a state machine.
        _write(machine_of(execution), execution, event)
        return event

    states._add_event = add_and_log


def _write(machine: dict[str, Any], execution: dict[str, Any], event: dict[str, Any]) -> None:
    configuration = machine.get("loggingConfiguration") or {}
    level = configuration.get("level", "OFF")
    if level != "ALL" and event["type"] not in _LOGGED.get(level, ()):
        return
    details: dict[str, Any] = next(
        (value for key, value in event.items() if key.endswith("EventDetails")), {}
    )
    if not configuration.get("includeExecutionData"):
        details = {key: value for key, value in details.items() if key not in ("input", "output")}
    now = int(time.time() * 1000)
    line = json.dumps(
        {
            "id": str(event["id"]),
            "type": event["type"],
            "details": details,
            "previous_event_id": str(event.get("previousEventId", 0)),
            "event_timestamp": str(now),
            "execution_arn": execution["executionArn"],
            "redrive_count": "0",
        }
    )
    stream = f"states/{machine['name']}/{time.strftime('%Y-%m-%d-%H-%M', time.gmtime(now / 1000))}"
    for destination in configuration.get("destinations", []):
        arn = destination["cloudWatchLogsLogGroup"]["logGroupArn"]
        logs.append(arn.split(":log-group:")[1].removesuffix(":*"), stream, [(now, line)])
