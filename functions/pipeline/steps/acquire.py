"""Acquire: take the endpoint's lease, or wait in the queue for it.

A waiting run is woken with the error YourTurn, and then asks again; so only the step that has just read the
lease says that the run holds it. A wait also ends after some minutes and leads back here. Each time, the step
looks at the owner's execution, in case the event of its end was lost.
"""

from contracts.run import AcquireInput
from coordination import lease, task_tokens
from coordination.handover import hand_over
from core.logging import logger
from entry_point import step
from reporting import sns_messages


@step(AcquireInput)
def handler(given: AcquireInput) -> None:
    """Complete the task token if the run holds the lease now; otherwise leave it in the queue."""
    run = given.run
    held = lease.read(run.endpoint)
    if held.execution and held.owner != run.name:
        # This holds even when the lease has expired: the cleanup of the run that held it goes before any
        # other run.
        hand_over(run.endpoint, held.execution)
    acquired = lease.acquire(run, given.token)
    if acquired is None:
        logger.info("Waiting for the lease", owner=held.owner, in_queue=len(held.waiting))
        return
    sns_messages.started(run)
    if not task_tokens.send_result(given.token, acquired):
        # This execution may have ended in the meantime, before it had a lease to pass on.
        hand_over(run.endpoint, run.execution.id)
