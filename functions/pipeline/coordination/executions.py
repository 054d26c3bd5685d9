"""Executions of the state machine: their status and input, and how to start one exactly once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core import aws, environment
from core.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef


def describe(arn: str) -> DescribeExecutionOutputTypeDef | None:
    """Return the execution, or None: Step Functions deletes executions 90 days after their end."""
    with aws.allowing(lambda error: code_of(error) == "ExecutionDoesNotExist"):
        return aws.stepfunctions().describe_execution(executionArn=arn)
    return None


def is_running(arn: str) -> bool:
    """Return whether the execution is in progress, by its own status: events may be lost."""
    execution = describe(arn)
    return execution is not None and execution["status"] == "RUNNING"


def ended_by_itself(execution: DescribeExecutionOutputTypeDef | None) -> bool:
    """Return whether the execution reached its own Succeed or Fail state.

    Then it has cleaned up, or reported that it could not. An error named `States.*` can end an execution
    without reaching a state.
    """
    if execution is None:
        return False
    failed = execution["status"] == "FAILED" and not execution.get("error", "").startswith("States.")
    return failed or execution["status"] == "SUCCEEDED"


def request_of(execution: DescribeExecutionOutputTypeDef | None) -> Mapping[str, Any]:
    """Return the execution's input, or an empty mapping if that is not a JSON object."""
    try:
        document = json.loads(execution.get("input", "{}")) if execution else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def start(purpose: str, cause: str, request: Mapping[str, Any]) -> str:
    """Start an execution for a cause, unless the cause has had one.

    Args:
        purpose: the beginning of the execution's name.
        cause: what the execution is started for; equal causes have one execution within 90 days.
        request: the execution's input.

    Returns:
        The ARN of the cause's execution, started now or before.
    """
    machine = environment.state_machine_arn()
    started = start_anew(purpose, cause, request)
    return started or f"{machine.replace(':stateMachine:', ':execution:')}:{_name(purpose, cause)}"


def start_anew(purpose: str, cause: str, request: Mapping[str, Any]) -> str | None:
    """Start an execution like `start`, but return None if the cause has had one that has ended.

    Step Functions returns the running execution again that has the same name and input.
    """
    with aws.allowing(lambda error: code_of(error) == "ExecutionAlreadyExists"):
        return aws.stepfunctions().start_execution(
            stateMachineArn=environment.state_machine_arn(),
            name=_name(purpose, cause),
            input=json.dumps(request),
        )["executionArn"]
    return None


def _name(purpose: str, cause: str) -> str:
    return f"{purpose}-{hashlib.sha256(cause.encode()).hexdigest()[:24]}"
