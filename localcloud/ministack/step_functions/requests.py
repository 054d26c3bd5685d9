"""The checks of StartExecution, StartSyncExecution and ListExecutions.

AWS: the requests must fit the model, the state machine must exist, the name must be legal, and the input must
be JSON. StartExecution returns the running execution again that has the same name and input. ListExecutions
returns 100 executions unless the request has maxResults.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
MiniStack: it accepts every name, every input, and every filter. It refuses each name that was used. It
returns 1,000 executions, and none for a state machine that does not exist.
Here: the requests are checked as on AWS. The names of EXPRESS executions cannot be used again.
"""

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from localcloud.ministack.core.asgi import Response, json_error
from localcloud.sagemaker.api import shapes
from localcloud.sagemaker.core.errors import ServiceError

_MAX_INPUT = 262_144
"""The size limit of an input, in bytes."""
_PAGE = 100
_ILLEGAL = re.compile(
    r"""[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U0010ffff]"""
)
"""What the name of an execution must not contain."""

Request = dict[str, Any]
Handler = Callable[[Request], Response]


def patch() -> None:
    """Check the requests."""
    from ministack.services import stepfunctions as states

    start: Handler = states._start_execution
    start_sync: Handler = states._start_sync_execution
    list_executions: Handler = states._list_executions

    @functools.wraps(start)
    def start_once(data: Request) -> Response:
        return _refusal("StartExecution", data) or _already_running(data) or start(data)

    @functools.wraps(start_sync)
    def start_if_express(data: Request) -> Response:
        if refusal := _refusal("StartSyncExecution", data):
            return refusal
        if _machine(data).get("type") != "EXPRESS":
            message = "This operation is not supported by this type of state machine"
            return json_error(400, "StateMachineTypeNotSupported", message)
        return start_sync(data)

    @functools.wraps(list_executions)
    def list_page(data: Request) -> Response:
        if refusal := _list_refusal(data):
            return refusal
        return list_executions({**data, "maxResults": data.get("maxResults") or _PAGE})

    states._start_execution = start_once
    states._start_sync_execution = start_if_express
    states._list_executions = list_page


def _refusal(operation: str, data: Request) -> Response | None:
    """Return the error of an invalid request to start an execution, or None."""
    text, name = data.get("input", "{}"), data.get("name")
    if error := _invalid(operation, {key: value for key, value in data.items() if key != "input"}):
        return error
    if len(str(text).encode("utf-8", "surrogatepass")) > _MAX_INPUT:
        return json_error(
            400,
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have "
            f"size less than or equal to {_MAX_INPUT} bytes in UTF-8 encoding",
        )
    if not _machine(data):
        return _missing(data)
    if name is not None and _ILLEGAL.search(name):
        return json_error(400, "InvalidName", f"Invalid Name: '{name}'")
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"Invalid State Machine Execution Input: '{error}'"
        return json_error(400, "InvalidExecutionInput", message)
    return None


def _list_refusal(data: Request) -> Response | None:
    if error := _invalid("ListExecutions", data):
        return error
    if ("stateMachineArn" in data) == ("mapRunArn" in data):
        message = "Specify either a stateMachineArn or a mapRunArn"
        return json_error(400, "ValidationException", message)
    if "stateMachineArn" not in data:
        return None
    if data.get("statusFilter") == "PENDING_REDRIVE" or "redriveFilter" in data:
        message = "The filters for redriven executions need a mapRunArn"
        return json_error(400, "ValidationException", message)
    return None if _machine(data) else _missing(data)


def _invalid(operation: str, data: Request) -> Response | None:
    """Return the error of a request that does not fit the model of its operation, or None."""
    try:
        shapes.request(shapes.operation_model(operation, "stepfunctions"), data)
    except ServiceError as error:
        return json_error(error.status, error.code, str(error))
    return None


def _machine(data: Request) -> dict[str, Any]:
    """Return MiniStack's record of the state machine that a request names, or an empty one."""
    from ministack.services import stepfunctions as states

    return states._state_machines.get(states._resolve_state_machine_arn(data["stateMachineArn"])) or {}


def _missing(data: Request) -> Response:
    message = f"State Machine Does Not Exist: '{data['stateMachineArn']}'"
    return json_error(400, "StateMachineDoesNotExist", message)


def _already_running(data: Request) -> Response | None:
    """Return the first response again if the execution runs with this name and input."""
    from ministack.services import stepfunctions as states

    machine = _machine(data)["stateMachineArn"].replace(":stateMachine:", ":execution:")
    execution = states._executions.get(f"{machine}:{data.get('name')}") or {}
    if execution.get("status") != "RUNNING" or execution["input"] != data.get("input", "{}"):
        return None
    response: Response = states.json_response(
        {name: execution[name] for name in ("executionArn", "startDate")}
    )
    return response


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
