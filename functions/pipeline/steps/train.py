"""Train: start the run's training job, or find it; a task token does the waiting."""

from contracts.training import TrainInput
from coordination import task_tokens
from core import aws, names
from core.errors import ServiceUnavailable
from core.logging import logger
from entry_point import step
from training import training_job


@step(TrainInput)
def handler(given: TrainInput) -> None:
    """Store the task token and make sure that the job exists; the callback returns the outcome."""
    run = given.run
    arn = names.arn(run, "training-job", run.name)
    task_tokens.store(arn, given.token, run.name)
    job = training_job.describe(run.name)
    if job is None:
        # The name is this execution's own: an earlier attempt of this step may have created the job.
        with aws.allowing(aws.already_exists):
            aws.sagemaker().create_training_job(**training_job.request(given))
            logger.info("Training job created", job=run.name, instance_type=run.training.instance_type)
        job = training_job.describe(run.name)
    if job is None:
        raise ServiceUnavailable(f"Training job {run.name} was created, but SageMaker does not find it yet.")
    # The event may have come before the token was stored, or may never come. Look once without it.
    if outcome := training_job.outcome(job):
        task_tokens.complete(arn, given.token, outcome)
