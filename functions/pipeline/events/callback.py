"""EventBridge's events about training jobs and endpoints: complete the task token of the state that waits.

Events come twice, late, with other spellings than Describe's, and about resources that are not this
deployment's. So an event only says where to look. Describe says what the state is, and only a final state
completes a token.
"""

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
    """Look at the resource, and complete the task token if the resource has settled."""
    resource = event.resources[0]
    # A training job has its run's name.
    logger.set_correlation_id(resource.rpartition("/")[2])
    waiting = task_tokens.find(resource)
    if waiting is None:
        logger.info("No state waits for this resource", resource=resource)
        return
    logger.set_correlation_id(waiting.run)
    if outcome := outcome_of(waiting):
        task_tokens.complete(waiting.resource, waiting.token, outcome)


def outcome_of(waiting: task_tokens.Waiting) -> Trained | Deployed | PipelineError | None:
    """Return the resource's outcome, or None while it is in progress."""
    kind, _, name = waiting.resource.rpartition(":")[2].partition("/")
    if kind == "training-job":
        job = training_job.describe(name)
        return training_job.outcome(job) if job else None
    if not waiting.accepted:
        # The event is about an earlier change; SageMaker has not accepted this run's change yet.
        return None
    return endpoint.outcome(endpoint.describe(name), waiting.run)
