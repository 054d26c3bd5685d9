"""What is to be done when an execution has ended, however it ended: its lease goes on, and so do the uploads
it gathered; what an aborted run left half-made is cleaned up after by an execution of its own.

The event that says so may be lost, so whoever wants the lease comes here too and asks for the truth.
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
    """Put in order what the execution leaves, which may be asked any number of times; False while it runs."""
    execution = executions.describe(arn)
    if execution and execution["status"] == "RUNNING":
        return False
    held = lease.read(endpoint)
    if execution is None and not (held.execution == arn and held.free):
        # Step Functions forgets what ended long ago. What has only just begun it may not know yet.
        return False
    for waiter in held.waiting:
        if waiter.execution == arn:
            lease.leave(endpoint, waiter.run)
    unheard = _pass_on(held, execution) if held.execution == arn else None
    _release_uploads(execution, arn)
    if unheard:
        # It may have ended as well, and that may have been noticed before it had the lease.
        hand_over(endpoint, unheard)
    return True


def _pass_on(held: Held, execution: DescribeExecutionOutputTypeDef | None) -> str | None:
    """Pass the lease on; answers the execution that has it now, if that did not hear of it."""
    former = held
    cleaner = _start_cleanup(held, execution)
    for _ in range(_ATTEMPTS):
        following = next(iter(held.waiting), None)
        if cleaner:
            following = held.waiter(cleaner.run) or cleaner
        if lease.pass_on(held, following):
            logger.info("Lease passed on", former=held.owner, owner=following.run if following else None)
            return following.execution if following and not _woken(following) else None
        held = lease.read(held.endpoint)
        if held.generation != former.generation or held.owner is None:
            # Somebody else came here first.
            return None
    raise ServiceUnavailable(f"The lease on endpoint {held.endpoint} changed at every look.")


def _woken(waiter: Waiter) -> bool:
    return bool(waiter.token) and task_tokens.wake(waiter.token)


def _start_cleanup(held: Held, execution: DescribeExecutionOutputTypeDef | None) -> Waiter | None:
    """Have somebody clean up after a holder that could not do it itself; None where that is not needed.

    What the dead one was asked to do with the endpoint at its end is the other's to do.
    """
    if executions.ended_by_itself(execution):
        return None
    asked = executions.asked(execution)
    if "teardown_of" in asked:
        return None
    status = execution["status"] if execution else "forgotten"
    before = asked.get("cleanup_of")
    if before and status == "FAILED":
        # Another would fail alike, and so on for ever; the sweep finds what is left.
        return None
    subject = before["run"] if isinstance(before, dict) else held.owner
    wish = {"teardown": asked["teardown"]} if "teardown" in asked else {}
    started = executions.start(
        "cleanup",
        str(held.execution),
        {"cleanup_of": {"run": subject, "execution": str(held.execution), "status": status}, **wish},
    )
    return Waiter(names.run_name(held.endpoint, names.CLEANUP, started), started, "", 0)


def _release_uploads(execution: DescribeExecutionOutputTypeDef | None, arn: str) -> None:
    """Uploads that had joined an execution which never began its run get one of their own.

    So does its own upload, unless somebody aborted it, or its report has told why it failed.
    """
    upload = _upload(execution)
    if execution is None or upload is None:
        return
    dataset, aborted = upload.key.split("/")[1], execution["status"] == "ABORTED"
    own = 1 if aborted or executions.ended_by_itself(execution) else 0
    for _ in range(_ATTEMPTS):
        joined = arrivals.joined(dataset, arn)
        if joined > own:
            # Before they are forgotten, so that nothing is lost where this function ends in between. One that
            # joins meanwhile may be too late for this run, and gets another.
            executions.start("gathered", f"{arn} {joined}", {"dataset": dataset})
            logger.info("Uploads go on in a run of their own", dataset=dataset)
        if arrivals.leave(dataset, arn, joined, upload if aborted else None):
            return
    raise ServiceUnavailable(f"The uploads of dataset {dataset} changed at every look.")


def _upload(execution: DescribeExecutionOutputTypeDef | None) -> Upload | None:
    """The upload that the execution was started by, if its input is one that plan takes."""
    try:
        upload = Upload.model_validate(executions.asked(execution).get("upload"))
    except ValidationError:
        return None
    return upload if upload.key.count("/") > 1 else None
