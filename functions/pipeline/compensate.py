"""The step after a failure: leave nothing half-made, and the endpoint as it was before this run.

A running training job is stopped. An endpoint that serves this run goes back to the config it had, or is
deleted if it had none; the run's config and model follow once nothing uses them. Each of these takes minutes,
so the step starts what is to be done next and raises EndpointBusy; the state machine comes back until all has
settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws
import endpoint
import training_job
from botocore.exceptions import ClientError
from contracts import Compensated, CompensateInput, Run
from errors import EndpointBusy, code_of
from step import logger, step

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef


@step(CompensateInput)
def handler(given: CompensateInput) -> Compensated:
    run = given.run
    job = _stop_training(run)
    if not endpoint.config_exists(run.name):
        # The run never came as far as the endpoint, so whatever goes on there is not its business.
        return Compensated(training_job=job, serving=None, removed=endpoint.delete_config_and_model(run))
    live = endpoint.describe(run.endpoint)
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    serving = live.get("EndpointConfigName") if live else None
    if live and serving == run.name:
        if run.teardown != "never":
            # The tear-down comes next and takes it all.
            return Compensated(training_job=job, serving=serving, removed=[])
        raise _take_back(live, run)
    return Compensated(training_job=job, serving=serving, removed=_remove(run, gone=live is None))


def _stop_training(run: Run) -> str | None:
    """Stop the run's job if it runs; answers its status, None without a job."""
    job = training_job.describe(run.name)
    if job is None:
        return None
    if job["TrainingJobStatus"] == "InProgress":
        try:
            aws.sagemaker().stop_training_job(TrainingJobName=run.name)
        except ClientError as error:
            # It ended in the moment between; SageMaker will not stop what does not run.
            if code_of(error) != "ValidationException":
                raise
        logger.info("Training job is being stopped", job=run.name)
        return "Stopping"
    return job["TrainingJobStatus"]


def _take_back(live: DescribeEndpointOutputTypeDef, run: Run) -> EndpointBusy:
    """Start bringing the endpoint back to where it was. The answer is to be raised."""
    previous = endpoint.config_tags(run, run.name).get(endpoint.PREVIOUS)
    # A failed endpoint takes no update, only its deletion.
    if not previous or live["EndpointStatus"] != "InService" or not endpoint.config_exists(previous):
        return endpoint.delete(run.endpoint)
    try:
        aws.sagemaker().update_endpoint(EndpointName=run.endpoint, EndpointConfigName=previous)
        logger.info("Endpoint is going back to its former config", endpoint=run.endpoint, config=previous)
    except ClientError as error:
        if not aws.is_in_progress(error):
            raise
    return EndpointBusy(f"Endpoint {run.endpoint} is going back to {previous}.")


def _remove(run: Run, *, gone: bool) -> list[str]:
    return [*([f"endpoint/{run.endpoint}"] if gone else []), *endpoint.delete_config_and_model(run)]
