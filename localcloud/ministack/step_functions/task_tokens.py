"""Task tokens: good for one attempt of one task and for one answer, from who may answer that machine.

On AWS a function called with .waitForTaskToken that fails, fails its task at once; a token that was
answered, or whose task has ended, is TaskTimedOut; and SendTask* is authorized on the state machine that
gave the token out. MiniStack waits on after a failure, takes later answers, and authorizes on `*`.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
"""

import contextvars
import functools
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from localcloud.ministack.asgi import json_error
from localcloud.ministack.step_functions import executions
from localcloud.ministack.step_functions.tasks import time_limit

logger = logging.getLogger("localcloud")


class TaskTokens:
    """The tokens that tasks wait for, and those that are over."""

    def __init__(self) -> None:
        from ministack.services import stepfunctions

        self._states = stepfunctions
        self._with_callback = stepfunctions._invoke_with_callback
        self._lock = threading.Lock()
        self._answered: set[str] = set()
        self._machine_of_token: dict[str, str] = {}

    def mend(self) -> None:
        """Set it into MiniStack."""
        from ministack.core import iam_actions

        self._states._invoke_with_callback = self._invoke_with_callback
        self._states._send_task_success = self._refusing_late(self._states._send_task_success)
        self._states._send_task_failure = self._refusing_late(self._states._send_task_failure)
        self._states._send_task_heartbeat = self._refusing_late(self._states._send_task_heartbeat)
        iam_actions.extract_resource_arn = self._knowing_machines(iam_actions.extract_resource_arn)

    def wake(self, exec_arn: str | None) -> None:
        """Let the tasks of an execution that has ended wait no longer."""
        with self._lock:
            for token in list(self._states._task_tokens):
                waiting = self._states._task_tokens.get(token) or {}
                execution = waiting.get("execution") or {}
                if execution.get("executionArn") == exec_arn and execution["status"] != "RUNNING":
                    waiting["event"].set()

    def _invoke_with_callback(
        self, resource: str, input_data: Any, token: str, state_def: dict[str, Any]
    ) -> Any:
        """Run a .waitForTaskToken task: the answer to its token, or the error that ends it first."""
        if "states:::lambda:invoke" not in resource:
            return self._with_callback(resource, input_data, token, state_def)
        function = self._states._resolve_lambda_function_ref(input_data.get("FunctionName", ""), True)
        waiting: dict[str, Any] = {
            "event": threading.Event(),
            "result": None,
            "error": None,
            "heartbeat": None,
            "execution": executions.current.get(),
        }
        self._states._task_tokens[token] = waiting
        if waiting["execution"]:
            self._machine_of_token[token] = waiting["execution"]["stateMachineArn"]
            # An execution that was stopped before its token was known is woken by nobody.
            if waiting["execution"]["status"] != "RUNNING":
                waiting["event"].set()

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
                if not waiting["event"].is_set():
                    waiting["error"] = failure
                    waiting["event"].set()

        # A thread of its own: the token may be answered, or time out, while the function still runs.
        threading.Thread(target=contextvars.copy_context().run, args=(call,), daemon=True).start()
        waiting["event"].wait(time_limit(state_def.get("TimeoutSeconds")))
        with self._lock:
            answered = waiting["event"].is_set()
            self._states._task_tokens.pop(token, None)
            self._answered.add(token)
        executions.still_running()
        if not answered:
            raise self._states._ExecutionError("States.Timeout", "")
        if waiting["error"]:
            raise self._states._ExecutionError(waiting["error"]["Error"], waiting["error"]["Cause"])
        return json.loads(waiting["result"])

    def _refusing_late(self, send: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """SendTaskSuccess, -Failure, -Heartbeat: refused once the token was answered or its task ended."""

        @functools.wraps(send)
        def sending(data: dict[str, Any]) -> Any:
            token = str(data.get("taskToken"))
            with self._lock:
                waiting = self._states._task_tokens.get(token)
                over = token in self._answered or (waiting is not None and waiting["event"].is_set())
                if over:
                    message = "Task Timed Out: 'Provided task does not exist anymore'"
                    return json_error(400, "TaskTimedOut", message)
                if "output" in data and not _is_json(data["output"]):
                    return json_error(400, "InvalidOutput", "Invalid Output: the task's output is not JSON")
                return send(data)

        return sending

    def _knowing_machines(self, resource_arn: Callable[..., str]) -> Callable[..., str]:
        """The resource a request is authorized on: for SendTask*, the machine that gave out the token."""

        @functools.wraps(resource_arn)
        def resource(
            service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
        ) -> str:
            if service == "states" and ".SendTask" in headers.get("x-amz-target", ""):
                token = json.loads(body or b"{}").get("taskToken")
                return self._machine_of_token.get(token, "*")
            return resource_arn(service, method, path, headers, body, *rest)

        return resource


def _is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError):
        return False
    return True
