"""Tasks: the machine's role must allow what they call, and JSONata's fields mean what they do on AWS.

MiniStack invokes a function whatever the machine's role says, lets one expression of an Assign see what
another of it has assigned, keeps one token through all attempts of a task, and takes TimeoutSeconds for a
number. On AWS the role is asked for lambda:InvokeFunction; all of an Assign sees the variables as they were;
an attempt has a token of its own; and TimeoutSeconds may be an expression.
https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
"""

import contextvars
import functools
import secrets
from typing import Any

from localcloud.ministack.roles import role_denial
from localcloud.ministack.settings import ACCOUNT, REGION
from localcloud.ministack.step_functions import executions

_time_limit: contextvars.ContextVar[float | None] = contextvars.ContextVar("time_limit", default=None)


def time_limit(seconds: Any) -> float | None:
    """A task's TimeoutSeconds: the number, or what its expression gave when its Arguments were evaluated."""
    return _time_limit.get() if isinstance(seconds, str) else seconds


def mend() -> None:
    """Mend how a task is prepared and how it calls its function."""
    from ministack.services import stepfunctions as states

    call = states._call_lambda
    arguments = states._apply_jsonata_arguments
    with_timeout = states._invoke_resource_with_timeout

    @functools.wraps(call)
    def calling(func_ref: str, event: Any) -> Any:
        executions.still_running()
        execution = executions.current.get()
        if execution is not None:
            _authorize(execution, func_ref)
        return call(func_ref, event)

    @functools.wraps(arguments)
    def applying(state_def: dict[str, Any], raw_input: Any, ctx: dict[str, Any] | None = None) -> Any:
        if ctx and "Task" in ctx and (ctx.get("State") or {}).get("RetryCount"):
            ctx["Task"] = {"Token": secrets.token_urlsafe(96)}
        # Here, because this is the last place that knows what the expression may refer to.
        _time_limit.set(states._apply_jsonata_template(state_def.get("TimeoutSeconds"), raw_input, ctx))
        return arguments(state_def, raw_input, ctx)

    @functools.wraps(with_timeout)
    def limiting(resource: str, input_data: Any, timeout: Any) -> Any:
        return with_timeout(resource, input_data, time_limit(timeout))

    states._call_lambda = calling
    states._apply_jsonata_arguments = applying
    states._invoke_resource_with_timeout = limiting
    states._apply_state_assign = _assign


def _authorize(execution: dict[str, Any], func_ref: str) -> None:
    from ministack.services import stepfunctions as states

    machine = states._state_machines.get(execution["stateMachineArn"]) or {}
    arn = (
        func_ref if func_ref.startswith("arn:") else f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{func_ref}"
    )
    denial = role_denial(machine.get("roleArn", ""), execution["name"][:64], "lambda:InvokeFunction", arn)
    if denial is not None:
        raise states._ExecutionError(
            "Lambda.AWSLambdaException",
            f"{denial} (Service: Lambda, Status Code: 403, Error Code: AccessDeniedException)",
        )


def _assign(
    state_def: dict[str, Any],
    raw_input: Any,
    ctx: dict[str, Any] | None,
    result: Any = None,
    error_output: Any = None,
) -> None:
    """Evaluate a JSONata state's Assign, every expression before any variable changes."""
    from ministack.services import stepfunctions as states

    assign = state_def.get("Assign")
    if ctx is None or not isinstance(assign, dict):
        return
    if states._state_query_language(state_def, ctx) != "JSONata":
        return
    assigned = {
        name: states._apply_jsonata_template(
            template, raw_input, ctx, result=result, error_output=error_output
        )
        for name, template in assign.items()
    }
    ctx.setdefault("variables", {}).update(assigned)
