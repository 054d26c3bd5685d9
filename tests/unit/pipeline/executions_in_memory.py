"""Step Functions in memory: executions that a test starts and ends, and the task tokens they wait for.

Moto's Step Functions keeps no task tokens and does not repeat a start. StartExecution is idempotent for the
same name and input while the execution runs, and refused after its end. A token stays known, but only the
last one of a running execution completes a wait.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tests.unit.pipeline.in_memory import InMemory

_STARTED = datetime(2026, 3, 1, tzinfo=UTC)


class Refusal(Exception):
    """The service's error, with its code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


@dataclass
class Execution:
    """An execution; `token` is empty while it does not wait.

    `heard` says how its last wait ended (`Success`, or the error's name), and `output` with which result.
    """

    input: str
    status: str = "RUNNING"
    error: str = ""
    token: str = ""
    heard: str = ""
    output: str = ""


class ExecutionsInMemory(InMemory):
    """The executions of one state machine, by ARN, in the order of their start."""

    SERVICE = "stepfunctions"
    READS = ("DescribeExecution",)

    def __init__(self, machine: str) -> None:
        super().__init__()
        self.machine = machine
        self.executions: dict[str, Execution] = {}
        self._tokens: dict[str, str] = {}
        self._numbers = itertools.count()
        events = self.client.meta.events
        events.register("provide-client-params.stepfunctions.*", self._remember)
        events.register("before-call.stepfunctions.*", self._respond)

    def arn(self, name: str) -> str:
        """Return the ARN of the execution with this name."""
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"

    def start(self, name: str, document: Mapping[str, Any]) -> str:
        """Start an execution, and return its ARN."""
        arn = self.arn(name)
        self.executions[arn] = Execution(json.dumps(document))
        return arn

    def input(self, arn: str) -> Any:
        """Return an execution's input."""
        return json.loads(self.executions[arn].input)

    def started(self, purpose: str) -> list[str]:
        """Return the executions that the pipeline itself has started for a purpose."""
        return [arn for arn in self.executions if f":{purpose}-" in arn]

    def heard(self, arn: str) -> str:
        """Return how the execution's last wait ended; empty if it has not."""
        return self.executions[arn].heard

    def end(self, arn: str, status: str, error: str = "") -> None:
        """End an execution. Its token completes nothing any more."""
        execution = self.executions[arn]
        execution.status, execution.error, execution.token = status, error, ""

    def wait(self, arn: str) -> str:
        """Let an execution wait for a new token, in place of the one before."""
        token = f"token-{next(self._numbers)}"
        self._tokens[token] = arn
        self.executions[arn].token, self.executions[arn].heard = token, ""
        return token

    def _remember(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["params"] = params

    def _respond(self, model: Any, context: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        try:
            response, status = getattr(self, f"_{model.name}")(context["params"]), 200
        except Refusal as refusal:
            response, status = {"Error": {"Code": refusal.code, "Message": str(refusal)}}, 400
        return SimpleNamespace(status_code=status), response | {
            "ResponseMetadata": {"HTTPStatusCode": status}
        }

    def _DescribeExecution(self, params: dict[str, Any]) -> dict[str, Any]:
        arn = params["executionArn"]
        if arn not in self.executions:
            raise Refusal("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        execution = self.executions[arn]
        return {
            "executionArn": arn,
            "stateMachineArn": self.machine,
            "status": execution.status,
            "startDate": _STARTED,
            "input": execution.input,
            **({"error": execution.error} if execution.error else {}),
        }

    def _StartExecution(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["stateMachineArn"] != self.machine:
            raise Refusal("StateMachineDoesNotExist")
        arn = self.arn(params["name"])
        known = self.executions.get(arn)
        if known and (known.status != "RUNNING" or known.input != params["input"]):
            raise Refusal("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        if known is None:
            self.executions[arn] = Execution(params["input"])
        return {"executionArn": arn, "startDate": _STARTED}

    def _SendTaskSuccess(self, params: dict[str, Any]) -> dict[str, Any]:
        json.loads(params["output"])
        return self._complete(params["taskToken"], "Success", params["output"])

    def _SendTaskFailure(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._complete(params["taskToken"], params["error"], "")

    def _complete(self, token: str, outcome: str, output: str) -> dict[str, Any]:
        if token not in self._tokens:
            raise Refusal("InvalidToken", "Invalid token")
        execution = self.executions[self._tokens[token]]
        if execution.token != token:
            raise Refusal("TaskTimedOut", "Task Timed Out: Provided task does not exist anymore")
        execution.token, execution.heard, execution.output = "", outcome, output
        return {}
