"""The step after a failure: leave nothing half-made, and the endpoint as it was before the run.

A running training job is stopped. An endpoint that serves the run goes back to the config it had, or is
deleted if it had none; the run's config and model follow once nothing uses them. Each of these takes minutes,
so the step starts what is to be done next and raises EndpointBusy; the state machine comes back until all has
settled. A model that passed its smoke test before the failure stays. A run that has lost its lease lets the
endpoint be, for it is another's by then. While a function of an aborted run may be at work, only the job is
stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from contracts.run import Run
from contracts.serving import Compensated, CompensateInput
from coordination import lease
from core import aws, names
from core.errors import EndpointBusy, EndpointFailed, LeaseLost, PipelineError, SmokeTestFailed
from core.logging import logger
from entry_point import step
from registry import model_packages
from serving import endpoint, scaling
from serving.scaling import Scale
from steps import smoke_test
from training import training_job

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        DescribeEndpointOutputTypeDef,
        ProductionVariantOutputTypeDef,
    )

# What is a failing of the model and not of its surroundings, such as a quota or a permission.
_OF_THE_MODEL = {"SmokeTestFailed", "UpdateReverted"}


@step(CompensateInput, fenced=False)
def handler(given: CompensateInput) -> Compensated:
    run = given.run
    job = _stop_training(run.subject)
    if given.at_work:
        # What is removed under its hands it may yet put into service.
        return _compensated(job, None, [])
    mine = endpoint.variant(run.subject)
    if mine is None:
        # The run never came as far as the endpoint, so whatever goes on there is not its business.
        return _compensated(job, None, endpoint.delete_config_and_model(run.subject))
    live = endpoint.describe(run.endpoint)
    serving = live.get("EndpointConfigName", "") if live else None
    try:
        lease.renew(run, given.lease)
    except LeaseLost:
        used = live is not None and _may_be_used(live, run)
        return _compensated(job, serving, [] if used else endpoint.delete_config_and_model(run.subject))
    if live and live["EndpointStatus"] not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {live['EndpointStatus']}.")
    tags = endpoint.config_tags(run.execution.id, run.subject)
    previous = tags.get(endpoint.PREVIOUS, "")
    if live is None and endpoint.RESTORING in tags and endpoint.config_exists(previous):
        raise _create_again(run, previous)
    in_service = live is not None and live["EndpointStatus"] == "InService"
    if in_service and serving == run.subject and endpoint.VERIFIED in tags:
        return _compensated(job, serving, [])
    if live and (serving == run.subject or (serving == previous and not in_service)):
        raise _take_back(live, run, mine, tags)
    restored = live is not None and serving == previous
    if restored:
        _must_answer(run.endpoint, tags.get(endpoint.PREVIOUS_MODEL))
        _scale_again(run, previous)
    _reject_model(given)
    removed = [] if live else [f"endpoint/{run.endpoint}"]
    removed += endpoint.delete_config_and_model(run.subject)
    return _compensated(job, serving, removed, restored=restored)


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


def _reject_model(given: CompensateInput) -> None:
    """Let a model that this run trained, and that was tried and failed, not be deployed again."""
    if not given.registered or not given.registered.approved or not given.caught:
        return
    failure = given.caught[0]
    if given.run.work == "train" and failure.Error in _OF_THE_MODEL:
        model_packages.reject(given.registered.arn, f"{failure.Step} failed with {failure.Error}.")


def _may_be_used(live: DescribeEndpointOutputTypeDef, run: Run) -> bool:
    """Whether the endpoint, another run's by now, has this one's config, or may come or go back to it."""
    if live["EndpointStatus"] not in endpoint.SETTLED:
        return True
    serving = live.get("EndpointConfigName", "")
    return run.subject in (
        serving,
        endpoint.config_tags(run.execution.id, serving).get(endpoint.PREVIOUS),
    )


def _take_back(
    live: DescribeEndpointOutputTypeDef,
    run: Run,
    mine: ProductionVariantOutputTypeDef,
    tags: Mapping[str, str],
) -> PipelineError:
    """Start bringing the endpoint back to where it was. The answer is to be raised."""
    previous = tags.get(endpoint.PREVIOUS, "")
    former = endpoint.variant(previous) if previous else None
    if former is None:
        return endpoint.delete(run.endpoint)
    if endpoint.RESTORING in tags and live.get("EndpointConfigName") == previous:
        return EndpointFailed(
            f"Endpoint {run.endpoint} could not be put back to {previous}: it is {live['EndpointStatus']}. "
            f"{live.get('FailureReason', 'SageMaker gave no reason.')} Deploy a registered model with an "
            'execution whose input is {"model": NAME}.'
        )
    becomes_serverless = "ServerlessConfig" in former and not endpoint.is_serverless(live)
    if live["EndpointStatus"] != "InService" or becomes_serverless:
        # SageMaker updates no endpoint that failed, and none from real-time to serverless. It is deleted, and
        # then created again.
        aws.sagemaker().add_tags(
            ResourceArn=names.arn(run, "endpoint-config", run.subject),
            Tags=[{"Key": endpoint.RESTORING, "Value": previous}],
        )
        return endpoint.delete(run.endpoint)
    # Neither in steps nor by alarms: what serves now is known to be bad, and an alarm may sound already. The
    # number of instances is kept where the run's own update has kept it.
    count = former.get("InitialInstanceCount")
    try:
        aws.sagemaker().update_endpoint(
            EndpointName=run.endpoint,
            EndpointConfigName=previous,
            RetainAllVariantProperties=count is not None and count == mine.get("InitialInstanceCount"),
        )
        logger.info("Endpoint is going back to its former config", endpoint=run.endpoint, config=previous)
    except ClientError as error:
        if not aws.is_in_progress(error):
            raise
    return EndpointBusy(f"Endpoint {run.endpoint} is going back to {previous}.")


def _create_again(run: Run, previous: str) -> EndpointBusy:
    """Create the endpoint with its former config. The answer is to be raised."""
    try:
        aws.sagemaker().create_endpoint(EndpointName=run.endpoint, EndpointConfigName=previous)
        logger.info("Endpoint is created again", endpoint=run.endpoint, config=previous)
    except ClientError as error:
        if not aws.already_exists(error):
            raise
    return EndpointBusy(f"Endpoint {run.endpoint} is created again with {previous}.")


def _must_answer(name: str, model: str | None) -> None:
    """Raise SmokeTestFailed unless the endpoint answers, and with the model it is said to be back at."""
    answer = smoke_test.generate(name, seed=111, temperature=1.0, prompt="")
    if model and answer.model != model:
        raise SmokeTestFailed(
            f"Endpoint {name} was put back to {model}, but answers with model {answer.model}."
        )


def _scale_again(run: Run, previous: str) -> None:
    """Let the fleet scale as it did; another instance type, or a new endpoint, had made an end of it."""
    tag = endpoint.config_tags(run.execution.id, previous).get(endpoint.SCALES, "")
    scale = Scale.read(tag)
    if scale:
        scaling.start(run.endpoint, scale)
