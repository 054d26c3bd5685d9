"""Lambda: a function that fails says what it says on AWS, and stays warm.

There the payload has the exception's class as errorType, and the stack trace, by which state machines and
people tell one failure from another. MiniStack gives every exception as Runtime.HandlerError with its
message, and starts the function anew for the next call.
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
"""

import functools
import json
import threading
from typing import Any

from localcloud.ministack.lambda_worker import SCRIPT_MENDS

_INIT_FAILED = "Worker init failed: "


def mend() -> None:
    """Have the worker tell more of a failure, and the invocation pass it on."""
    from ministack.core import lambda_runtime as runtime
    from ministack.services import lambda_svc as service

    for old, new in SCRIPT_MENDS:
        runtime._PYTHON_WORKER_SCRIPT = runtime._PYTHON_WORKER_SCRIPT.replace(old, new)

    # The worker is called on the invocation's own thread.
    invocation = threading.local()
    invoke = runtime.Worker.invoke
    execute = service._execute_function_warm

    @functools.wraps(invoke)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = invoke(self, *args, **kwargs)
        invocation.failure = response.get("failure")
        return response if invocation.failure is None else {**response, "status": "error"}

    @functools.wraps(execute)
    def reporting(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        invocation.failure = None
        result: dict[str, Any] = execute(func, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict):
            body, log = _payload(body, invocation.failure)
            result = {**result, "body": body, "log": log or result.get("log", "")}
        return result

    runtime.Worker.invoke = remembering
    service._execute_function_warm = reporting


def _payload(body: dict[str, Any], failure: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The payload AWS gives for a failed invocation, and what else belongs in its log.

    `body` is MiniStack's own account of it, `failure` what the worker said of its handler's exception.
    """
    if failure is not None:
        return failure, ""
    message = str(body.get("errorMessage", ""))
    if message == "Worker process died":
        # sys.exit, a signal, the out-of-memory killer.
        return {"errorType": "Runtime.ExitError", "errorMessage": "Error: Runtime exited"}, ""
    if not message.startswith(_INIT_FAILED):
        return body, ""
    try:
        init = json.loads(message.removeprefix(_INIT_FAILED))
    except json.JSONDecodeError:
        return body, ""
    error_type, said = init["class"], init["message"]
    if init["import"]:
        error_type = "Runtime.ImportModuleError"
        said = f"Unable to import module '{init['module']}': {init['message']}"
    return {"errorType": error_type, "errorMessage": said, "stackTrace": []}, init["trace"]
