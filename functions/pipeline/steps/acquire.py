"""The step that takes the endpoint's lease, or waits in line for it.

A run whose turn has come is woken by a failure of the wait named YourTurn, and asks again: so the lease is
only ever said to be held by the step that has just read so. A wait that is not answered ends after some
minutes and leads here too; the holder's execution is looked at each time, in case the event of its end was
lost.
"""

from __future__ import annotations

from contracts.run import AcquireInput
from coordination import lease, task_tokens
from coordination.handover import hand_over
from core.logging import logger
from entry_point import step
from reporting import messages


@step(AcquireInput)
def handler(given: AcquireInput) -> None:
    run = given.run
    held = lease.read(run.endpoint)
    if held.execution and held.owner != run.name:
        # Also where it has lapsed: what a dead holder left is cleaned up before anybody else works.
        hand_over(run.endpoint, held.execution)
    got = lease.acquire(run, given.token)
    if got is None:
        logger.info("Waiting for the lease", holder=held.owner, in_line=len(held.waiting))
        return
    messages.started(run)
    if not task_tokens.reply(given.token, got):
        # This execution may have ended meanwhile, before it had anything to pass on.
        hand_over(run.endpoint, run.execution.id)
