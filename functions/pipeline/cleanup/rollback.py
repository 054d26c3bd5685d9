"""Put the endpoint back to the model that served before a failed run.

An endpoint that serves the failed run's config is updated to the former config, or deleted if there was none.
If it cannot be updated, it is deleted and created again with the former config. Each of these takes minutes:
a function here starts the next change and raises EndpointBusy, and the state machine retries the step until
the endpoint has settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from cleanup import resources
from contracts.run import Run
from core import aws
from core.errors import EndpointBusy, EndpointFailed, SmokeTestFailed
from core.logging import logger
from serving import endpoint, probe, scaling, tags
from serving.scaling import Scale

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import type_defs as types


def roll_back(
    live: types.DescribeEndpointOutputTypeDef,
    run: Run,
    failed: types.ProductionVariantOutputTypeDef,
    failed_tags: Mapping[str, str],
) -> NoReturn:
    """Start putting the endpoint back to its former config.

    Args:
        live: DescribeEndpoint's response, of a settled endpoint.
        run: its `subject` is the failed run.
        failed: the variant of the failed run's config.
        failed_tags: the tags of that config.

    Raises:
        EndpointBusy: the change is in progress; retry the step.
        EndpointFailed: the endpoint failed with its former config too.
    """
    previous = failed_tags.get(tags.PREVIOUS, "")
    former = endpoint.variant(previous) if previous else None
    if former is None:
        resources.delete_endpoint_and_retry(run.endpoint)
    if tags.RESTORING in failed_tags and live.get("EndpointConfigName") == previous:
        raise EndpointFailed(
            f"Endpoint {run.endpoint} could not be put back to {previous}: it is {live['EndpointStatus']}. "
            f"{live.get('FailureReason', 'SageMaker gave no reason.')} Deploy a registered model with an "
            'execution whose input is {"model": NAME}.'
        )
    becomes_serverless = "ServerlessConfig" in former and not endpoint.is_serverless(live)
    if live["EndpointStatus"] != "InService" or becomes_serverless:
        # SageMaker updates neither a failed endpoint nor a real-time one to serverless, so delete the
        # endpoint. `create_again` follows at the next attempt, because of this tag.
        tags.add(run, run.subject, {tags.RESTORING: previous})
        resources.delete_endpoint_and_retry(run.endpoint)
    # No traffic shifting and no alarms: the model that serves is known to be bad, and its alarm, which may
    # already be in ALARM, would roll this update back. The instance count stays if the run's own update kept
    # it.
    count = former.get("InitialInstanceCount")
    with aws.allowing(aws.is_in_progress):
        aws.sagemaker().update_endpoint(
            EndpointName=run.endpoint,
            EndpointConfigName=previous,
            RetainAllVariantProperties=count is not None and count == failed.get("InitialInstanceCount"),
        )
        logger.info("Endpoint is being put back to its former config", endpoint=run.endpoint, config=previous)
    raise EndpointBusy(f"Endpoint {run.endpoint} is being put back to {previous}.")


def create_again(run: Run, previous: str) -> NoReturn:
    """Create the deleted endpoint with its former config, and raise EndpointBusy."""
    with aws.allowing(aws.already_exists):
        endpoint.create(run.endpoint, previous)
        logger.info("Endpoint is being created again", endpoint=run.endpoint, config=previous)
    raise EndpointBusy(f"Endpoint {run.endpoint} is being created again with {previous}.")


def check_responds(name: str, model: str | None) -> None:
    """Raise SmokeTestFailed unless the endpoint generates text, with the former model if it is known."""
    response = probe.generate(name, seed=111, temperature=1.0, prompt="")
    if model and response.model != model:
        raise SmokeTestFailed(
            f"Endpoint {name} was put back to {model}, but responds with model {response.model}."
        )


def restore_scaling(run: Run, previous: str) -> None:
    """Let the endpoint's instances scale as the former config's tag says.

    A deployment with another instance type, or a new endpoint, ends the scaling.
    """
    if scale := Scale.read(tags.of_config(run.execution.id, previous).get(tags.SCALES, "")):
        scaling.start(run.endpoint, scale)


def may_be_used(live: types.DescribeEndpointOutputTypeDef, run: Run) -> bool:
    """Return whether the endpoint, which another run owns now, has or may get the failed run's config."""
    if live["EndpointStatus"] not in endpoint.SETTLED:
        return True
    serving = live.get("EndpointConfigName", "")
    return run.subject in (serving, tags.of_config(run.execution.id, serving).get(tags.PREVIOUS))
