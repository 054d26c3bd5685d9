"""How a task is prepared, and how it calls its function.

AWS: the state machine's role must allow lambda:InvokeFunction. Every expression of an Assign sees the
variables as they were before. Each attempt of a task has a token of its own. TimeoutSeconds may be an
expression.
https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
MiniStack: it does not authorize the invocation. An expression of an Assign sees the variables that an earlier
one has set. All attempts share a token. TimeoutSeconds must be a number.
Here: these four are as on AWS.
"""

import contextvars
import functools
import secrets
from typing import Any

from localcloud.ministack.core import regions
from localcloud.ministack.core.options import ACCOUNT
from localcloud.ministack.iam.roles import role_denial
from localcloud.ministack.step_functions import executions

_time_limit: contextvars.ContextVar[float | None] = contextvars.ContextVar("time_limit", default=None)


def time_limit(seconds: Any) -> float | None:
    """Return a task's TimeoutSeconds: the number, or the value of its expression for this attempt."""
    return _time_limit.get() if isinstance(seconds, str) else seconds


def patch() -> None:
    """Authorize calls, and evaluate Assign, TimeoutSeconds and tokens as on AWS."""
    from ministack.services import stepfunctions as states

    call = states._call_lambda
    apply_arguments = states._apply_jsonata_arguments
    invoke = states._invoke_resource_with_timeout

    @functools.wraps(call)
    def call_if_allowed(func_ref: str, event: Any) -> Any:
        executions.raise_if_ended()
        execution = executions.current.get()
        if execution is not None:
            _authorize(execution, func_ref)
        return call(func_ref, event)

    @functools.wraps(apply_arguments)
    def prepare(state_def: dict[str, Any], raw_input: Any, ctx: dict[str, Any] | None = None) -> Any:
        if ctx and "Task" in ctx and (ctx.get("State") or {}).get("RetryCount"):
            ctx["Task"] = {"Token": secrets.token_urlsafe(96)}
        # Later there is no access to the variables that the expression may use.
        _time_limit.set(states._apply_jsonata_template(state_def.get("TimeoutSeconds"), raw_input, ctx))
        return apply_arguments(state_def, raw_input, ctx)

    @functools.wraps(invoke)
    def invoke_with_limit(resource: str, input_data: Any, timeout: Any) -> Any:
        return invoke(resource, input_data, time_limit(timeout))

    states._call_lambda = call_if_allowed
    states._apply_jsonata_arguments = prepare
    states._invoke_resource_with_timeout = invoke_with_limit
    states._apply_state_assign = _assign


def _authorize(execution: dict[str, Any], func_ref: str) -> None:
    from ministack.services import stepfunctions as states

    machine = executions.machine_of(execution)
    arn = (
        func_ref
        if func_ref.startswith("arn:")
        else f"arn:aws:lambda:{regions.current()}:{ACCOUNT}:function:{func_ref}"
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
    """Evaluate every expression of a JSONata state's Assign, then set the variables."""
    from ministack.services import stepfunctions as states

    assign = state_def.get("Assign")
    if ctx is None or not isinstance(assign, dict):
        return
    if states._state_query_language(state_def, ctx) != "JSONata":
        return
    variables = {
        name: states._apply_jsonata_template(
            template, raw_input, ctx, result=result, error_output=error_output
        )
        for name, template in assign.items()
    }
    ctx.setdefault("variables", {}).update(variables)
