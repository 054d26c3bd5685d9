"""Task tokens: which state waits for which SageMaker resource, in the table under the resource's ARN.

A token is stored before the job or endpoint is created, because the ARN is known before; so no event can come
while no token is stored. The item of an endpoint also records whether SageMaker has accepted this run's
change. Until then, DescribeEndpoint's response is not yet about this run.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel

from coordination import table
from core import aws, environment
from core.errors import PipelineError, code_of
from core.logging import logger

# Longer than an execution may run (30 days). DynamoDB deletes items that were not deleted before.
_KEPT_SECONDS = 31 * 24 * 3600
# Errors of SendTask that mean that no state waits for this token any more: it timed out, ended, or was
# retried.
_STALE = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}
# The Acquire state catches this error and asks for the lease again.
YOUR_TURN = "YourTurn"
# SendTaskFailure accepts at most this many characters.
_CAUSE_LIMIT = 32_768


@dataclass(frozen=True)
class Waiting:
    """A state that waits for a resource. `accepted`: SageMaker has accepted this run's change of it."""

    resource: str
    token: str
    run: str
    accepted: bool


def store(resource: str, token: str, run: str) -> None:
    """Store the token to complete when the resource has settled. It replaces any earlier token."""
    table.write(
        resource,
        "SET #token = :token, #run = :run, #expires = :expires",
        {":token": token, ":run": run, ":expires": int(time.time()) + _KEPT_SECONDS},
    )


def mark_accepted(resource: str, run: str) -> None:
    """Record that SageMaker accepted the run's change of the resource."""
    table.write(resource, "SET #config = :run", {":run": run})


def find(resource: str) -> Waiting | None:
    """Return the state that waits for the resource, or None."""
    item = table.get(resource)
    if not item:
        return None
    return Waiting(resource, item["token"], item["run"], accepted=item.get("config") == item["run"])


def complete(resource: str, token: str, outcome: BaseModel | PipelineError) -> None:
    """End the wait with a result or an error.

    Do nothing if no state waits any more. The item then stays: a state that has timed out comes back with a
    new token, and needs to know whether its change was accepted.
    """
    if isinstance(outcome, PipelineError):
        ended = _fail(token, type(outcome).__name__, str(outcome))
    else:
        ended = send_result(token, outcome)
    if ended:
        logger.info("Task token completed", resource=resource, outcome=type(outcome).__name__)
        # If another state waits for the resource now, the item has that state's token.
        with aws.allowing(table.condition_failed):
            aws.dynamodb().delete_item(
                TableName=environment.table(),
                Key={"resource": {"S": resource}},
                ConditionExpression="#token = :token",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":token": {"S": token}},
            )


def send_result(token: str, result: BaseModel) -> bool:
    """End a wait with a result. Return False if no state waits for the token any more."""
    return _sent(
        lambda: aws.stepfunctions().send_task_success(taskToken=token, output=result.model_dump_json())
    )


def wake(token: str) -> bool:
    """Tell a waiting run to ask for the lease again. Return False if it does not wait any more."""
    return _fail(token, YOUR_TURN, "It is this run's turn to take the lease.")


def _fail(token: str, error: str, cause: str) -> bool:
    return _sent(
        lambda: aws.stepfunctions().send_task_failure(
            taskToken=token, error=error, cause=cause[:_CAUSE_LIMIT]
        )
    )


def _sent(send: Callable[[], object]) -> bool:
    sent = aws.or_none(send, lambda error: code_of(error) in _STALE) is not None
    if not sent:
        logger.info("No state waits for this token any more")
    return sent
