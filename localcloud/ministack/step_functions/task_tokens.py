"""Task tokens.

AWS: a token is valid for one attempt of one task and for one response. A response to a token that was used,
or whose task has ended, fails with TaskTimedOut. SendTask* is authorized on the state machine whose task
waits for the token. A function that is called with .waitForTaskToken and fails, fails its task at once.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
MiniStack: it accepts later responses, authorizes SendTask* on `*`, and continues to wait after a failure.
Here: `TaskTokens` runs the tasks that wait for tokens, and checks SendTask*.
"""

import contextvars
import functools
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from localcloud.ministack.core.asgi import json_error
from localcloud.ministack.step_functions import executions
from localcloud.ministack.step_functions.tasks import time_limit

logger = logging.getLogger("localcloud")


class TaskTokens:
    """The tokens that tasks wait for, and the tokens that are no longer valid."""

    def __init__(self) -> None:
        from ministack.services import stepfunctions

        self._states = stepfunctions
        self._with_callback = stepfunctions._invoke_with_callback
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._machine_of_token: dict[str, str] = {}

    def patch(self) -> None:
        """Apply this module's patches to MiniStack."""
        from ministack.core import iam_actions

        self._states._invoke_with_callback = self._invoke_with_callback
        self._states._send_task_success = self._unless_used(self._states._send_task_success)
        self._states._send_task_failure = self._unless_used(self._states._send_task_failure)
        self._states._send_task_heartbeat = self._unless_used(self._states._send_task_heartbeat)
        iam_actions.extract_resource_arn = self._with_machines(iam_actions.extract_resource_arn)

    def wake(self, exec_arn: str | None) -> None:
        """End the waits of an execution's tasks if the execution has ended."""
        with self._lock:
            for token in list(self._states._task_tokens):
                wait = self._states._task_tokens.get(token) or {}
                execution = wait.get("execution") or {}
                if execution.get("executionArn") == exec_arn and execution["status"] != "RUNNING":
                    wait["event"].set()

    def _invoke_with_callback(
        self, resource: str, input_data: Any, token: str, state_def: dict[str, Any]
    ) -> Any:
        """Run a .waitForTaskToken task: invoke the function, and wait for a response to its token.

        Return the response. Raise the function's own error if it fails before there is a response, the
        failure that was sent for the token, or States.Timeout.
        """
        if "states:::lambda:invoke" not in resource:
            return self._with_callback(resource, input_data, token, state_def)
        function = self._states._resolve_lambda_function_ref(input_data.get("FunctionName", ""), True)
        wait: dict[str, Any] = {
            "event": threading.Event(),
            "result": None,
            "error": None,
            "heartbeat": None,
            "execution": executions.current.get(),
        }
        self._states._task_tokens[token] = wait
        if wait["execution"]:
            self._machine_of_token[token] = wait["execution"]["stateMachineArn"]
            # If the execution was stopped before its token was known, `wake` did not find the token.
            if wait["execution"]["status"] != "RUNNING":
                wait["event"].set()

        def call() -> None:
            try:
                self._states._call_lambda(function, input_data.get("Payload", input_data))
            except executions.Ended:
                return
            except self._states._ExecutionError as error:
                failure = {"Error": error.error, "Cause": error.cause}
            except Exception as error:
                logger.exception("Invoking %s failed", function)
                failure = {"Error": "States.Runtime", "Cause": str(error)}
            else:
                return
            with self._lock:
                if not wait["event"].is_set():
                    wait["error"] = failure
                    wait["event"].set()

        # In a thread: the response may arrive, or the task may time out, while the function still runs.
        threading.Thread(target=contextvars.copy_context().run, args=(call,), daemon=True).start()
        wait["event"].wait(time_limit(state_def.get("TimeoutSeconds")))
        with self._lock:
            responded = wait["event"].is_set()
            self._states._task_tokens.pop(token, None)
            self._used.add(token)
        executions.raise_if_ended()
        if not responded:
            raise self._states._ExecutionError("States.Timeout", "")
        if wait["error"]:
            raise self._states._ExecutionError(wait["error"]["Error"], wait["error"]["Cause"])
        return json.loads(wait["result"])

    def _unless_used(self, send: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """Refuse SendTaskSuccess, -Failure and -Heartbeat after the first response or the task's end."""

        @functools.wraps(send)
        def send_unless_used(data: dict[str, Any]) -> Any:
            token = str(data.get("taskToken"))
            with self._lock:
                wait = self._states._task_tokens.get(token)
                if token in self._used or (wait is not None and wait["event"].is_set()):
                    message = "Task Timed Out: 'Provided task does not exist anymore'"
                    return json_error(400, "TaskTimedOut", message)
                if "output" in data and not _is_json(data["output"]):
                    return json_error(400, "InvalidOutput", "Invalid Output: the task's output is not JSON")
                return send(data)

        return send_unless_used

    def _with_machines(self, resource_arn: Callable[..., str]) -> Callable[..., str]:
        """Return the token's state machine as the resource on which SendTask* is authorized."""

        @functools.wraps(resource_arn)
        def resource_arn_with_machine(
            service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
        ) -> str:
            if service == "states" and ".SendTask" in headers.get("x-amz-target", ""):
                token = json.loads(body or b"{}").get("taskToken")
                return self._machine_of_token.get(token, "*")
            return resource_arn(service, method, path, headers, body, *rest)

        return resource_arn_with_machine


def _is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError):
        return False
    return True
