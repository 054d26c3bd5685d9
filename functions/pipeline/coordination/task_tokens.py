"""Task tokens: who waits for which SageMaker resource, kept in DynamoDB under the resource's ARN.

A token is stored before the job or endpoint is created (its ARN can be computed), so there is no moment at
which an event could come and find nobody waiting. The item of an endpoint also remembers whether SageMaker
took this run's change: until then, what Describe says about the endpoint is not yet about this run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import BaseModel

from coordination import table
from core import aws, environment
from core.errors import PipelineError, code_of
from core.logging import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# Longer than the state machine may run (30 days); DynamoDB then removes what nobody forgot.
_KEPT_SECONDS = 31 * 24 * 3600
# SendTask errors that mean nobody waits on this token any more: the state timed out, ended, or was retried.
_STALE = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}
# The state machine's Catch leads it back to the step that asks for the lease.
YOUR_TURN = "YourTurn"
# SendTaskFailure takes at most this many characters of cause.
_CAUSE_LIMIT = 32_768


@dataclass(frozen=True)
class Waiting:
    """A state that waits on a resource. `asked`: SageMaker has accepted this run's change of it."""

    resource: str
    token: str
    run: str
    asked: bool


def store(resource: str, token: str, run: str) -> Waiting:
    """Let `token` be answered when `resource` has settled. A newer token, of any run, takes its place."""
    stored = aws.dynamodb().update_item(
        TableName=environment.table(),
        Key={"resource": {"S": resource}},
        UpdateExpression="SET #token = :token, #run = :run, #expires = :expires",
        ExpressionAttributeNames={"#token": "token", "#run": "run", "#expires": "expires"},
        ExpressionAttributeValues={
            ":token": {"S": token},
            ":run": {"S": run},
            ":expires": {"N": str(int(time.time()) + _KEPT_SECONDS)},
        },
        ReturnValues="ALL_NEW",
    )
    return _waiting(resource, stored["Attributes"])


def mark_asked(resource: str, run: str) -> None:
    """Remember that SageMaker accepted `run`'s config for `resource`."""
    table.write(resource, "SET #config = :run", {":run": {"S": run}})


def find(resource: str) -> Waiting | None:
    """Who waits on `resource`, if anybody."""
    item = table.get(resource)
    return _waiting(resource, item) if item else None


def _waiting(resource: str, item: Mapping[str, AttributeValueTypeDef]) -> Waiting:
    run = item["run"]["S"]
    return Waiting(resource, item["token"]["S"], run, asked=item.get("config", {}).get("S") == run)


def answer(waiting: Waiting, outcome: BaseModel | PipelineError) -> None:
    """End the wait with a document or an error. A token that nobody waits on any more is not an error."""
    if isinstance(outcome, PipelineError):
        heard = _fail(waiting.token, type(outcome).__name__, str(outcome))
    else:
        heard = reply(waiting.token, outcome)
    if heard:
        logger.info("Answered", resource=waiting.resource, outcome=type(outcome).__name__)
        _forget(waiting)
    # Else the item stays: a state that has timed out comes back with a new token and needs to know what was
    # asked.


def reply(token: str, document: BaseModel) -> bool:
    """End a wait with a document; False when nobody waits on the token any more."""
    return _sent(
        lambda: aws.stepfunctions().send_task_success(taskToken=token, output=document.model_dump_json())
    )


def wake(token: str) -> bool:
    """End a wait for the lease: it is the waiting run's turn to ask again."""
    return _fail(token, YOUR_TURN, "The lease on the endpoint is this run's.")


def _fail(token: str, error: str, cause: str) -> bool:
    return _sent(
        lambda: aws.stepfunctions().send_task_failure(
            taskToken=token, error=error, cause=cause[:_CAUSE_LIMIT]
        )
    )


def _sent(send: Callable[[], object]) -> bool:
    try:
        send()
    except ClientError as error:
        if code_of(error) not in _STALE:
            raise
        logger.info("Nobody waits on this token any more", reason=code_of(error))
        return False
    return True


def _forget(waiting: Waiting) -> None:
    try:
        aws.dynamodb().delete_item(
            TableName=environment.table(),
            Key={"resource": {"S": waiting.resource}},
            ConditionExpression="#token = :token",
            ExpressionAttributeNames={"#token": "token"},
            ExpressionAttributeValues={":token": {"S": waiting.token}},
        )
    except ClientError as error:
        # Somebody else waits on the resource by now; that token is theirs.
        if code_of(error) != "ConditionalCheckFailedException":
            raise
