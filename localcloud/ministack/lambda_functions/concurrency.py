"""What happens beyond the limit of concurrent invocations.

AWS: an account has a limit for all its functions, and ReservedConcurrentExecutions of the template limits one
function. An asynchronous event waits until the function is no longer throttled: Lambda tries again after 1 s,
then after longer and longer pauses, for 6 hours at most. A task of a state machine fails with
Lambda.TooManyRequestsException. API Gateway returns 500 when Lambda refuses an invocation.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway-errors.html
MiniStack: it has the limits, but ignores the template's. An asynchronous event is lost after 3 attempts, like
one on which the function fails. The task fails with Lambda.Unknown, and API Gateway returns 429.
Here: as on AWS. `core.options` sets the limit of the account.
"""

import contextvars
import functools
import json
import time
from typing import Any

Properties = dict[str, Any]

_LONGEST_PAUSE = 300.0
_LONGEST_WAIT = 6 * 3600.0
_asynchronous = contextvars.ContextVar("asynchronous", default=False)


def patch() -> None:
    """Let throttled events wait, give throttled calls AWS's errors, and reserve as templates say."""
    _let_events_wait()
    _name_errors()
    _reserve()


def _let_events_wait() -> None:
    from ministack.services import lambda_svc as functions

    invoke, execute = functions.invoke_async_with_retry, functions._execute_function

    @functools.wraps(invoke)
    def invoke_async(func: dict[str, Any], event: Any) -> None:
        # The invocation's thread gets a copy of the context.
        contextvars.copy_context().run(_invoke_marked, invoke, func, event)

    @functools.wraps(execute)
    def execute_or_wait(func: dict[str, Any], event: Any) -> dict[str, Any]:
        pause: float = functions._LAMBDA_ASYNC_RETRY_BASE_SECONDS
        deadline = time.monotonic() + _LONGEST_WAIT
        result: dict[str, Any] = execute(func, event)
        while result.get("throttle") and _asynchronous.get() and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            # The invocation has a copy of the function, and the limit may have been changed.
            current = functions._functions.get(func["config"]["FunctionName"])
            if current is None:
                break
            result = execute({**func, "concurrency": current["concurrency"]}, event)
        return result

    functions.invoke_async_with_retry = invoke_async
    functions._execute_function = execute_or_wait


def _invoke_marked(invoke: Any, func: dict[str, Any], event: Any) -> None:
    _asynchronous.set(True)
    invoke(func, event)


def _name_errors() -> None:
    from ministack.services import apigateway_v1 as apigateway
    from ministack.services import stepfunctions as states

    call_raw, call = apigateway._call_lambda_raw, states._call_lambda

    @functools.wraps(call_raw)
    async def call_from_gateway(*args: Any, **kwargs: Any) -> tuple[dict[str, Any] | None, str | None]:
        result, error = await call_raw(*args, **kwargs)
        if result and result.get("throttle"):
            return None, "The function is throttled"
        return result, error

    @functools.wraps(call)
    def call_from_task(func_ref: str, event: Any) -> Any:
        try:
            return call(func_ref, event)
        except states._ExecutionError as error:
            if error.error == "Lambda.Unknown" and _is_throttled(error.cause):
                raise states._ExecutionError("Lambda.TooManyRequestsException", error.cause) from error
            raise

    apigateway._call_lambda_raw = call_from_gateway
    states._call_lambda = call_from_task


def _is_throttled(cause: str) -> bool:
    try:
        return bool(json.loads(cause)["__type"] == "TooManyRequestsException")
    except (ValueError, TypeError, KeyError):
        return False


def _reserve() -> None:
    from ministack.services import lambda_svc as functions
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update = handlers["create"], handlers["update"]

    def reserved(result: tuple[str, Any], properties: Properties) -> tuple[str, Any]:
        limit = properties.get("ReservedConcurrentExecutions")
        functions._functions[result[0]]["concurrency"] = None if limit is None else int(limit)
        return result

    def create_with_limit(logical_id: str, properties: Properties, stack: str) -> tuple[str, Any]:
        return reserved(create(logical_id, properties, stack), properties)

    def update_with_limit(
        name: str, before: Properties, properties: Properties, stack: str, logical_id: str | None = None
    ) -> tuple[str, Any]:
        return reserved(update(name, before, properties, stack, logical_id), properties)

    handlers.update(create=create_with_limit, update=update_with_limit)
