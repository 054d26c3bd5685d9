"""Hand over what an ended execution leaves: its lease to the next run, its gathered uploads to a new run.

An aborted execution cannot clean up after itself, so a new execution does, which gets the lease first. The
event about an execution's end may be lost. So every run that waits for the lease, and the sweep, call this
too; it may be called any number of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from contracts.request import Upload
from coordination import arrivals, executions, lease, task_tokens
from coordination.lease import Held, Waiter
from core import names
from core.errors import ServiceUnavailable
from core.logging import logger

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

_ATTEMPTS = 5


def hand_over(endpoint: str, arn: str) -> bool:
    """Hand over what the execution leaves.

    Args:
        endpoint: the endpoint whose lease the execution may hold.
        arn: the execution.

    Returns:
        False while the execution is in progress, or not known to Step Functions yet.

    Raises:
        ServiceUnavailable: others changed the lease or the uploads during every attempt.
    """
    execution = executions.describe(arn)
    if execution and execution["status"] == "RUNNING":
        return False
    held = lease.read(endpoint)
    if execution is None and not (held.execution == arn and held.free):
        # Step Functions has deleted an old execution, or does not know a new one yet. Only an expired lease
        # tells that the execution is an old one.
        return False
    for waiter in held.waiting:
        if waiter.execution == arn:
            lease.leave(endpoint, waiter.run)
    unreachable = _pass_on(held, execution) if held.execution == arn else None
    _release_uploads(execution, arn)
    if unreachable:
        # The next owner's execution may have ended too, and before it got the lease.
        hand_over(endpoint, unreachable)
    return True


def _pass_on(held: Held, execution: DescribeExecutionOutputTypeDef | None) -> str | None:
    """Pass the lease on. Return the next owner's execution if it could not be woken."""
    former = held
    cleaner = _start_cleanup(held, execution)
    for _ in range(_ATTEMPTS):
        following = next(iter(held.waiting), None)
        if cleaner:
            following = held.waiter(cleaner.run) or cleaner
        if lease.pass_on(held, following):
            logger.info("Lease passed on", former=held.owner, owner=following.run if following else None)
            if following is None or (following.token and task_tokens.wake(following.token)):
                return None
            return following.execution
        held = lease.read(held.endpoint)
        if held.generation != former.generation or held.owner is None:
            # Another caller has passed it on.
            return None
    raise ServiceUnavailable(f"The lease on endpoint {held.endpoint} changed during every attempt.")


def _start_cleanup(held: Held, execution: DescribeExecutionOutputTypeDef | None) -> Waiter | None:
    """Start an execution that cleans up after the owner, if the owner could not do it itself.

    The owner's teardown policy goes along. Return None if no cleanup is needed.
    """
    if executions.ended_by_itself(execution):
        return None
    request = executions.request_of(execution)
    if "teardown_of" in request:
        return None
    status = execution["status"] if execution else "forgotten"
    before = request.get("cleanup_of")
    if before and status == "FAILED":
        # Another cleanup would fail too, and so on without end. The sweep finds what is left.
        return None
    upload = _upload(execution)
    dataset = _dataset(upload) if upload else request.get("dataset")
    of = (
        before
        if isinstance(before, dict)
        else {"run": held.owner, **({"dataset": dataset} if dataset else {})}
    )
    policy = {"teardown": request["teardown"]} if "teardown" in request else {}
    started = executions.start(
        "cleanup",
        str(held.execution),
        {"cleanup_of": {**of, "execution": str(held.execution), "status": status}, **policy},
    )
    return Waiter(names.run_name(held.endpoint, names.CLEANUP, started), started, "", 0)


def _release_uploads(execution: DescribeExecutionOutputTypeDef | None, arn: str) -> None:
    """Start a run for the uploads that the execution gathered but never ran for.

    This includes its own upload, unless a person aborted the execution or its report has told why it failed.
    """
    upload = _upload(execution)
    if execution is None or upload is None:
        return
    dataset, aborted = _dataset(upload), execution["status"] == "ABORTED"
    own = 1 if aborted or executions.ended_by_itself(execution) else 0
    for _ in range(_ATTEMPTS):
        joined = arrivals.joined(dataset, arn)
        if joined > own:
            # Start the run before clearing the gatherer, so that no upload is lost if this function ends in
            # between. An upload that joins in the meantime may be too late for this run, and gets another.
            executions.start("gathered", f"{arn} {joined}", {"dataset": dataset})
            logger.info("Started a run for gathered uploads", dataset=dataset)
        if arrivals.leave(dataset, arn, joined, upload if aborted else None):
            return
    raise ServiceUnavailable(f"The uploads of dataset {dataset} changed during every attempt.")


def _upload(execution: DescribeExecutionOutputTypeDef | None) -> Upload | None:
    """Return the upload that started the execution, if its input is a valid one."""
    try:
        upload = Upload.model_validate(executions.request_of(execution).get("upload"))
    except ValidationError:
        return None
    return upload if upload.key.count("/") > 1 else None


def _dataset(upload: Upload) -> str:
    """Return the name of the folder under uploads/ that the object is in."""
    return upload.key.split("/")[1]
