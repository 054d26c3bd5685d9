"""EventBridge's wake-up: a training job or an endpoint has changed, so look at it and answer whoever waits on
it.

Events come twice, late, in another spelling than Describe's, and about resources of others. So an event only
says where to look; Describe says what is, and only an end is an answer.
"""

from __future__ import annotations

from contracts.events import StateChange
from contracts.serving import Deployed
from contracts.training import Trained
from coordination import task_tokens
from core.errors import PipelineError
from core.logging import logger
from entry_point import step
from serving import endpoint
from training import training_job


@step(StateChange)
def handler(event: StateChange) -> None:
    resource = event.resources[0]
    # A training job's name is its run's.
    logger.set_correlation_id(resource.rpartition("/")[2])
    waiting = task_tokens.find(resource)
    if waiting is None:
        logger.info("Nobody waits on this resource", resource=resource)
        return
    logger.set_correlation_id(waiting.run)
    outcome = outcome_of(waiting)
    if outcome:
        task_tokens.answer(waiting, outcome)


def outcome_of(waiting: task_tokens.Waiting) -> Trained | Deployed | PipelineError | None:
    """What the resource has come to, or None while it is under way."""
    kind, _, name = waiting.resource.rpartition(":")[2].partition("/")
    if kind == "training-job":
        job = training_job.describe(name)
        return training_job.outcome(job) if job else None
    if not waiting.asked:
        # An event of an earlier change; SageMaker has not accepted this run's yet.
        return None
    return endpoint.outcome(endpoint.describe(name), waiting.run)
