"""Compensate: undo a failed run, so that nothing is left half-made and the endpoint is as it was before.

The step stops a training job in progress, deletes half-made prepared text, puts the endpoint back
(`cleanup.rollback`), and deletes the run's endpoint config and model once nothing uses them. It raises
EndpointBusy while a change is in progress, and the state machine retries it until the endpoint has settled.

A model that passed its smoke test before the failure keeps serving. A run that has lost its lease does not
change the endpoint, which another run owns by then. If a function of an aborted run may still be running, the
step only stops the job: that function could put a config into service that is deleted here.
"""

from cleanup import prepared_text, resources, rollback
from contracts.serving import Compensated, CompensateInput
from coordination import lease
from core import ownership
from core.errors import EndpointBusy, LeaseLost, SmokeTestFailed
from core.logging import logger
from entry_point import step
from registry import model_packages
from serving import endpoint, tags
from training import training_job

# These errors are the model's fault, not that of its surroundings, such as a quota or a permission.
_MODEL_FAULTS = {"SmokeTestFailed", "UpdateReverted"}


@step(CompensateInput)
def handler(given: CompensateInput) -> Compensated:
    """Undo what the subject did, and return what there is now."""
    job = _stop_training(given.run.subject)
    if given.at_work:
        return Compensated(training_job=job, serving=None, restored=False, removed=[])
    dataset = given.run.cleanup_of.dataset if given.run.cleanup_of else given.run.dataset
    text = prepared_text.delete_half_made(dataset, given.run.subject) if dataset else []
    undone = _undo(given, job)
    return undone.model_copy(update={"removed": [*text, *undone.removed]})


def _undo(given: CompensateInput, job: str | None) -> Compensated:
    """Put the endpoint back, and delete the subject's config and model."""
    run = given.run
    failed = endpoint.variant(run.subject)
    if failed is None:
        # The run never reached the endpoint, so the endpoint is not its business.
        removed = resources.delete_config_and_model(run.subject)
        return Compensated(training_job=job, serving=None, restored=False, removed=removed)
    live = endpoint.describe(run.endpoint)
    serving = live.get("EndpointConfigName", "") if live else None
    try:
        lease.renew(run, given.lease)
    except LeaseLost:
        used = live is not None and rollback.may_be_used(live, run)
        removed = [] if used else resources.delete_config_and_model(run.subject)
        return Compensated(training_job=job, serving=serving, restored=False, removed=removed)
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    failed_tags = tags.of_config(run.execution.id, run.subject)
    previous = failed_tags.get(tags.PREVIOUS, "")
    owners: dict[str, ownership.Tags | None] = {ownership.arn("endpoint-config", run.subject): failed_tags}
    if live is None or serving in (run.subject, previous):
        # The endpoint may have to be changed, and put back to its former config.
        former = [ownership.arn("endpoint-config", previous)] if previous else []
        owners |= ownership.read(ownership.arn("endpoint", run.endpoint), *former)
    ownership.check_all(owners)
    if live is None and tags.RESTORING in failed_tags and endpoint.config_exists(previous):
        rollback.create_again(run, previous)
    in_service = live is not None and live["EndpointStatus"] == "InService"
    if in_service and serving == run.subject and tags.VERIFIED in failed_tags:
        return Compensated(
            training_job=job, serving=serving, restored=False, removed=[], model=failed_tags.get(tags.MODEL)
        )
    if live and (serving == run.subject or (serving == previous and not in_service)):
        rollback.roll_back(live, run, failed, failed_tags)
    restored = live is not None and serving == previous
    former_model = failed_tags.get(tags.PREVIOUS_MODEL)
    if restored:
        try:
            rollback.check_responds(run.endpoint, former_model)
        except SmokeTestFailed:
            # A person has to look at the previous model. The failed run's config and model are unused anyway.
            resources.delete_config_and_model(run.subject)
            raise
        rollback.restore_scaling(run, previous)
    _reject_model(given)
    removed = [f"endpoint/{run.endpoint}"] if live is None else []
    removed += resources.delete_config_and_model(run.subject)
    return Compensated(
        training_job=job,
        serving=serving,
        restored=restored,
        removed=removed,
        model=former_model if restored else None,
    )


def _stop_training(name: str) -> str | None:
    """Stop the run's job if it is in progress. Return its status, or None if there is no job."""
    job = training_job.describe(name)
    if job is None:
        return None
    if job["TrainingJobStatus"] == "InProgress":
        training_job.stop(name)
        logger.info("Training job is being stopped", job=name)
        return "Stopping"
    return job["TrainingJobStatus"]


def _reject_model(given: CompensateInput) -> None:
    """Mark the model that this run trained as rejected, if the failure was the model's fault."""
    if not given.registered or not given.registered.approved or not given.caught:
        return
    failure = given.caught[0]
    if given.run.work == "train" and failure.Error in _MODEL_FAULTS:
        model_packages.reject(given.registered.arn, f"{failure.Step} failed with {failure.Error}.")
