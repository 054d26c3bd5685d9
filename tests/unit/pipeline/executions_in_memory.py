"""Step Functions in memory: executions that a test starts and ends, and the task tokens they wait on.

Starting is idempotent for the same name and input while the execution runs, and refused after that. A token
is known for good, but heard only while its execution waits on it.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.unit.pipeline.in_memory import InMemory, Refusal


@dataclass
class Execution:
    input: str
    status: str = "RUNNING"
    error: str = ""
    token: str = ""
    """What it waits on now; empty while it does not wait."""
    heard: str = ""
    output: str = ""
    """What its last wait was answered with."""


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

    # --- what a test does and sees

    def arn(self, name: str) -> str:
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"

    def start(self, name: str, document: Mapping[str, Any]) -> str:
        """Start an execution; its ARN."""
        arn = self.arn(name)
        self.executions[arn] = Execution(json.dumps(document))
        return arn

    def input(self, arn: str) -> Any:
        return json.loads(self.executions[arn].input)

    def started(self, purpose: str) -> list[str]:
        """The executions that the pipeline itself has started for a purpose."""
        return [arn for arn in self.executions if f":{purpose}-" in arn]

    def heard(self, arn: str) -> str:
        """How the execution's last wait ended: Success, or the error's name; empty if it did not."""
        return self.executions[arn].heard

    def end(self, arn: str, status: str, error: str = "") -> None:
        """Let an execution end; whatever it waited on is no longer heard."""
        execution = self.executions[arn]
        execution.status, execution.error, execution.token = status, error, ""

    def wait(self, arn: str) -> str:
        """Let an execution wait, on a new token; the one before is no longer heard."""
        token = f"token-{next(self._numbers)}"
        self._tokens[token] = arn
        self.executions[arn].token, self.executions[arn].heard = token, ""
        return token

    # --- between boto3 and the network

    def _DescribeExecution(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = asked["executionArn"]
        if arn not in self.executions:
            raise Refusal("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        execution = self.executions[arn]
        return {
            "executionArn": arn,
            "stateMachineArn": self.machine,
            "status": execution.status,
            "startDate": datetime(2026, 3, 1, tzinfo=UTC),
            "input": execution.input,
            **({"error": execution.error} if execution.error else {}),
        }

    def _StartExecution(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["stateMachineArn"] != self.machine:
            raise Refusal("StateMachineDoesNotExist")
        arn = self.arn(asked["name"])
        known = self.executions.get(arn)
        if known and (known.status != "RUNNING" or known.input != asked["input"]):
            raise Refusal("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        if known is None:
            self.executions[arn] = Execution(asked["input"])
        return {"executionArn": arn, "startDate": datetime(2026, 3, 1, tzinfo=UTC)}

    def _SendTaskSuccess(self, asked: dict[str, Any]) -> dict[str, Any]:
        json.loads(asked["output"])
        return self._hear(asked["taskToken"], "Success", asked["output"])

    def _SendTaskFailure(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._hear(asked["taskToken"], asked["error"], "")

    def _hear(self, token: str, what: str, output: str) -> dict[str, Any]:
        if token not in self._tokens:
            raise Refusal("InvalidToken", "Invalid token")
        execution = self.executions[self._tokens[token]]
        if execution.token != token:
            raise Refusal("TaskTimedOut", "Task Timed Out: Provided task does not exist anymore")
        execution.token, execution.heard, execution.output = "", what, output
        return {}
