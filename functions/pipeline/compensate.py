"""The step after a failure: leave nothing half-made, and the endpoint as it was before the run.

A running training job is stopped. An endpoint that serves the run goes back to the config it had, or is
deleted if it had none; the run's config and model follow once nothing uses them. Each of these takes minutes,
so the step starts what is to be done next and raises EndpointBusy; the state machine comes back until all has
settled. A model that passed its smoke test before the failure stays. A run that has lost its lease lets the
endpoint be, for it is another's by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws
import endpoint
import lease
import registry
import smoke_test
import training_job
from botocore.exceptions import ClientError
from contracts import Compensated, CompensateInput, Run
from errors import EndpointBusy, LeaseLost, SmokeTestFailed
from step import logger, step

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef


@step(CompensateInput, fenced=False)
def handler(given: CompensateInput) -> Compensated:
    run = given.run
    job = _stop_training(run.subject)
    if not endpoint.config_exists(run.subject):
        # The run never came as far as the endpoint, so whatever goes on there is not its business.
        return _compensated(job, None, endpoint.delete_config_and_model(run.subject))
    live = endpoint.describe(run.endpoint)
    try:
        lease.renew(run, given.lease)
    except LeaseLost:
        serving = live.get("EndpointConfigName") if live else None
        return _compensated(job, serving, [] if serving == run.subject else _remove(run, gone=False))
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    serving = live.get("EndpointConfigName") if live else None
    tags = endpoint.config_tags(run.execution.id, run.subject)
    if live and serving == run.subject:
        if endpoint.VERIFIED in tags or run.teardown in ("always", "on_failure"):
            # It has passed, or the tear-down comes next and takes it all.
            return _compensated(job, serving, [])
        raise _take_back(live, run, tags.get(endpoint.PREVIOUS))
    restored = serving is not None and serving == tags.get(endpoint.PREVIOUS)
    if restored:
        _must_answer(run.endpoint, tags.get(endpoint.PREVIOUS_MODEL))
    if given.registered and given.registered.approved and given.caught and given.run.work == "train":
        registry.reject(given.registered.arn, f"{given.caught[0].Step} failed with {given.caught[0].Error}.")
    return _compensated(job, serving, _remove(run, gone=live is None), restored=restored)


def _compensated(
    job: str | None, serving: str | None, removed: list[str], *, restored: bool = False
) -> Compensated:
    return Compensated(training_job=job, serving=serving, restored=restored, removed=removed)


def _stop_training(name: str) -> str | None:
    """Stop the run's job if it runs; answers its status, None without a job."""
    job = training_job.describe(name)
    if job is None:
        return None
    if job["TrainingJobStatus"] == "InProgress":
        training_job.stop(name)
        logger.info("Training job is being stopped", job=name)
        return "Stopping"
    return job["TrainingJobStatus"]


def _take_back(live: DescribeEndpointOutputTypeDef, run: Run, previous: str | None) -> EndpointBusy:
    """Start bringing the endpoint back to where it was. The answer is to be raised."""
    # A failed endpoint takes no update, only its deletion.
    if not previous or live["EndpointStatus"] != "InService" or not endpoint.config_exists(previous):
        return endpoint.delete(run.endpoint)
    try:
        # Neither in steps nor by alarms: what serves now is known to be bad, and an alarm may sound already.
        aws.sagemaker().update_endpoint(EndpointName=run.endpoint, EndpointConfigName=previous)
        logger.info("Endpoint is going back to its former config", endpoint=run.endpoint, config=previous)
    except ClientError as error:
        if not aws.is_in_progress(error):
            raise
    return EndpointBusy(f"Endpoint {run.endpoint} is going back to {previous}.")


def _must_answer(name: str, model: str | None) -> None:
    """Raise SmokeTestFailed unless the endpoint answers, and with the model it is said to be back at."""
    answer = smoke_test.generate(name, seed=111, temperature=1.0, prompt="")
    if model and answer.model != model:
        raise SmokeTestFailed(
            f"Endpoint {name} was put back to {model}, but answers with model {answer.model}."
        )


def _remove(run: Run, *, gone: bool) -> list[str]:
    removed = [f"endpoint/{run.endpoint}"] if gone else []
    return [*removed, *endpoint.delete_config_and_model(run.subject)]
