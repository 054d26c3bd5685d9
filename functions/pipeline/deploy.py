"""The step that puts the model on the endpoint: create it, or update it, and leave the waiting to the task
token.

The endpoint is shared by all runs, one change at a time. A run that finds another's change under way raises
EndpointBusy and is tried again; a run that finds a model of a run that started later has nothing to do any
more.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast

import aws
import endpoint
import names
import tokens
from botocore.exceptions import ClientError
from contracts import DeployInput, Run
from errors import EndpointBusy, NothingToDo, PipelineError, ServiceUnavailable, message_of
from step import logger, step

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import ProductionVariantInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef, TagTypeDef


@step(DeployInput)
def handler(given: DeployInput) -> None:
    run = given.run
    arn = names.arn(run, "endpoint", run.endpoint)
    known = tokens.find(arn)
    asked = known is not None and known.run == run.name and known.asked
    live = endpoint.describe(run.endpoint)
    serving = live.get("EndpointConfigName", "") if live else ""
    change = not asked and serving != run.name
    if change:
        if live:
            _must_give_way(live, serving, run)
        _create_config(given, previous=serving)
    waiting = tokens.store(arn, given.token, run.name)
    if change:
        _change(run, exists=live is not None)
    if not asked:
        tokens.mark_asked(arn, run.name)
    # An event that came before the token was stored, or never came, is made up for here.
    outcome = endpoint.outcome(endpoint.describe(run.endpoint), run.name)
    if change and isinstance(outcome, PipelineError):
        # Accepted a moment ago: this is the endpoint as it was, or nothing at all, and not yet the end.
        return
    if outcome:
        tokens.answer(waiting, outcome)


def _change(run: Run, *, exists: bool) -> None:
    """Have SageMaker accept the run's config for the endpoint."""
    try:
        if exists:
            # RetainAllVariantProperties stays off: with it the former instance count would win over
            # what this run asks for, and nothing scales the variant on its own.
            aws.sagemaker().update_endpoint(EndpointName=run.endpoint, EndpointConfigName=run.name)
        else:
            aws.sagemaker().create_endpoint(EndpointName=run.endpoint, EndpointConfigName=run.name)
    except ClientError as error:
        if aws.already_exists(error) or aws.is_in_progress(error):
            raise EndpointBusy(f"Another run was first to change endpoint {run.endpoint}.") from error
        if aws.is_missing(error):
            raise _not_seen_yet(error) from error
        raise
    logger.info("Endpoint change accepted", endpoint=run.endpoint, config=run.name)


def _must_give_way(live: DescribeEndpointOutputTypeDef, serving: str, run: Run) -> None:
    """Raise unless `live`, which does not serve this run, may be updated now."""
    status = live["EndpointStatus"]
    if status not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {status}.")
    if status != "InService":
        # SageMaker allows nothing but DeleteEndpoint on a failed endpoint; the next attempt creates a new
        # one.
        raise endpoint.delete(run.endpoint)
    if serving.startswith(f"{run.endpoint}-"):
        theirs = endpoint.config_tags(run, serving)
        started = theirs.get(endpoint.STARTED)
        if started and datetime.fromisoformat(started) > run.execution.started:
            raise NothingToDo(
                f"Endpoint {run.endpoint} already serves {theirs.get(endpoint.RUN, serving)}, of a run that "
                "started later than this one; a newer model is not replaced by an older one."
            )


def _create_config(given: DeployInput, previous: str) -> None:
    """Create the run's endpoint config, or tell an existing one what it is now to replace."""
    run, sagemaker = given.run, aws.sagemaker()
    place: TagTypeDef = {"Key": endpoint.PREVIOUS, "Value": previous}
    try:
        sagemaker.create_endpoint_config(
            EndpointConfigName=run.name,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": run.name,
                    "InstanceType": cast("ProductionVariantInstanceTypeType", run.hosting.instance_type),
                    "InitialInstanceCount": run.hosting.instance_count,
                }
            ],
            Tags=[
                *endpoint.tags(run, given.evaluated),
                {"Key": endpoint.STARTED, "Value": run.execution.started.isoformat()},
                place,
            ],
        )
    except ClientError as error:
        if aws.is_missing(error):
            raise _not_seen_yet(error) from error
        # The name is this execution's own: an earlier attempt of this step made it.
        if not aws.already_exists(error):
            raise
        sagemaker.add_tags(
            ResourceArn=names.arn(run, "endpoint-config", run.name),
            Tags=[place],
        )


def _not_seen_yet(error: ClientError) -> ServiceUnavailable:
    """SageMaker reads its records with a delay, and asks for another attempt (CreateEndpoint's reference).

    What it could not find, the model or the config, was there a moment ago.
    """
    return ServiceUnavailable(f"{error.operation_name}: {message_of(error)}")
