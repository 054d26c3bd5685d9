"""The payload of a failed invocation.

AWS: the payload contains the exception's class as errorType, and the stack trace. State machines match their
Retry and Catch with the errorType. The environment of a function that raised stays warm.
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
MiniStack: the errorType of every exception is Runtime.HandlerError, and the function's process is started
again for the next invocation.
Here: the changed script (`worker_script`) sends the class and the stack trace, and the invocation returns
them.
"""

import functools
import json
import threading
from typing import Any

from localcloud.ministack.lambda_functions.worker_script import SCRIPT_CHANGES

_INIT_FAILED = "Worker init failed: "


def patch() -> None:
    """Change the workers' script, and return its account of a failure as the payload."""
    from ministack.core import lambda_runtime as runtime
    from ministack.services import lambda_svc as service

    for old, new in SCRIPT_CHANGES:
        runtime._PYTHON_WORKER_SCRIPT = runtime._PYTHON_WORKER_SCRIPT.replace(old, new)

    # MiniStack calls the worker in the thread of the invocation.
    invocation = threading.local()
    invoke = runtime.Worker.invoke
    execute = service._execute_function_warm

    @functools.wraps(invoke)
    def invoke_and_note_failure(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = invoke(self, *args, **kwargs)
        invocation.failure = response.get("failure")
        return response if invocation.failure is None else {**response, "status": "error"}

    @functools.wraps(execute)
    def execute_and_return_failure(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        invocation.failure = None
        result: dict[str, Any] = execute(func, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict):
            body, log = _payload(body, invocation.failure)
            result = {**result, "body": body, "log": log or result.get("log", "")}
        return result

    runtime.Worker.invoke = invoke_and_note_failure
    service._execute_function_warm = execute_and_return_failure


def _payload(body: dict[str, Any], failure: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """Return AWS's payload of a failed invocation, and further text for the log.

    Args:
        body: MiniStack's payload.
        failure: The worker's account of its handler's exception, if the handler raised.
    """
    if failure is not None:
        return failure, ""
    message = str(body.get("errorMessage", ""))
    if message == "Worker process died":
        # The function called sys.exit, or a signal or the out-of-memory killer ended its process.
        return {"errorType": "Runtime.ExitError", "errorMessage": "Error: Runtime exited"}, ""
    if not message.startswith(_INIT_FAILED):
        return body, ""
    try:
        error = json.loads(message.removeprefix(_INIT_FAILED))
    except json.JSONDecodeError:
        return body, ""
    error_type, text = error["class"], error["message"]
    if error["import"]:
        error_type = "Runtime.ImportModuleError"
        text = f"Unable to import module '{error['module']}': {error['message']}"
    return {"errorType": error_type, "errorMessage": text, "stackTrace": []}, error["trace"]
