"""The state machine's executions: whether they run, what they were asked, and starting another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from core import aws, environment
from core.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef


def describe(arn: str) -> DescribeExecutionOutputTypeDef | None:
    """The execution, or None: Step Functions forgets them 90 days after their end."""
    try:
        return aws.stepfunctions().describe_execution(executionArn=arn)
    except ClientError as error:
        if code_of(error) == "ExecutionDoesNotExist":
            return None
        raise


def is_running(arn: str) -> bool:
    """Whether the execution has not ended. Its own status is asked, for events may be lost."""
    execution = describe(arn)
    return execution is not None and execution["status"] == "RUNNING"


def ended_by_itself(execution: DescribeExecutionOutputTypeDef | None) -> bool:
    """Whether it ended in its own Succeed or Fail state, so that it has cleaned up or reported that it could
    not. Errors named States.* can end one without any of its states being asked.
    """
    if execution is None:
        return False
    failed = execution["status"] == "FAILED" and not execution.get("error", "").startswith("States.")
    return failed or execution["status"] == "SUCCEEDED"


def asked(execution: DescribeExecutionOutputTypeDef | None) -> Mapping[str, Any]:
    """The execution's input, empty where it is no JSON object."""
    try:
        document = json.loads(execution.get("input", "{}")) if execution else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def start(purpose: str, cause: str, document: Mapping[str, Any]) -> str:
    """Start an execution because of `cause`, and only one however often that is noticed; answers its ARN."""
    machine = environment.state_machine_arn()
    started = start_anew(purpose, cause, document)
    return started or f"{machine.replace(':stateMachine:', ':execution:')}:{_name(purpose, cause)}"


def start_anew(purpose: str, cause: str, document: Mapping[str, Any]) -> str | None:
    """As start, but None where the cause has had its execution already, within the last 90 days."""
    try:
        started = aws.stepfunctions().start_execution(
            stateMachineArn=environment.state_machine_arn(),
            name=_name(purpose, cause),
            input=json.dumps(document),
        )
    except ClientError as error:
        if code_of(error) != "ExecutionAlreadyExists":
            raise
        return None
    return started["executionArn"]


def _name(purpose: str, cause: str) -> str:
    return f"{purpose}-{hashlib.sha256(cause.encode()).hexdigest()[:24]}"
