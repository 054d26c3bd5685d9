"""What is to be done when an execution has ended, however it ended: its lease goes on, and so do the uploads
it gathered; what an aborted run left half-made is cleaned up after by an execution of its own.

The event that says so may be lost, so whoever waits for the lease comes here too and asks for the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import arrivals
import executions
import lease
import names
import tokens
from lease import Held, Waiter
from step import logger

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

_ATTEMPTS = 5


def settle(endpoint: str, arn: str) -> None:
    """Put in order what the execution leaves; does nothing while it runs, and the same thing only once."""
    execution = executions.describe(arn)
    if execution and execution["status"] == "RUNNING":
        return
    held = lease.read(endpoint)
    if held.execution == arn:
        _pass_on(held, execution)
    for waiter in held.waiting:
        if waiter.execution == arn:
            lease.leave(endpoint, waiter.run)
    _release_uploads(execution, arn)


def _pass_on(held: Held, execution: DescribeExecutionOutputTypeDef | None) -> None:
    dead = held.execution
    cleaner = _clean_up(held, execution)
    for _ in range(_ATTEMPTS):
        following = cleaner or next(iter(held.waiting), None)
        if lease.pass_on(held, following):
            logger.info("Lease passed on", former=held.owner, owner=following.run if following else None)
            if following and following.token:
                tokens.wake(following.token)
            return
        # A run has got in line since, or somebody else came here first.
        held = lease.read(held.endpoint)
        if held.execution != dead:
            return


def _clean_up(held: Held, execution: DescribeExecutionOutputTypeDef | None) -> Waiter | None:
    """Have somebody clean up after a holder that could not do it itself; None where that is not needed.

    An execution that ended by its own Succeed or Fail state has cleaned up, or has said in its report that it
    could not. Errors named States.* can end one without any of its states being asked. What the dead one
    was asked to do with the endpoint at its end is the other's to do.
    """
    status = execution["status"] if execution else "forgotten"
    if status == "SUCCEEDED":
        return None
    if execution and status == "FAILED" and not execution.get("error", "").startswith("States."):
        return None
    asked = executions.asked(execution)
    if "take_down" in asked:
        return None
    before = asked.get("clean_up")
    subject = before["run"] if isinstance(before, dict) else held.owner
    wish = {"teardown": asked["teardown"]} if "teardown" in asked else {}
    started = executions.start(
        "clean-up",
        str(held.execution),
        {"clean_up": {"run": subject, "execution": str(held.execution), "status": status}, **wish},
    )
    run = names.run_name(held.endpoint, names.CLEAN_UP, started)
    token = next((waiter.token for waiter in held.waiting if waiter.run == run), "")
    return Waiter(run, started, token, 0)


def _release_uploads(execution: DescribeExecutionOutputTypeDef | None, arn: str) -> None:
    """Uploads that had joined an execution which never began its run get one of their own."""
    upload = executions.asked(execution).get("upload")
    parts = str(upload.get("key", "")).split("/") if isinstance(upload, dict) else []
    if len(parts) < 3:
        return
    aborted = execution is not None and execution["status"] == "ABORTED"
    if arrivals.leave(parts[1], arn, aborted=aborted) > 1:
        executions.start("gathered", arn, {"dataset": parts[1]})
        logger.info("Uploads go on in a run of their own", dataset=parts[1])
