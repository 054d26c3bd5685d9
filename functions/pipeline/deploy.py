"""The step that puts the run's model on the endpoint: create it, or update what is there; the task token does
the waiting.

A real-time endpoint is updated blue/green, its traffic shifted as the run asks and taken back by itself while
an alarm sounds. A serverless one takes a plain update, for SageMaker offers it nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import aws
import endpoint
import names
import scaling
import settings
import tokens
from botocore.exceptions import ClientError
from contracts import DeployInput, HostingResources, Lease, Run
from errors import EndpointBusy, LeaseLost, PipelineError, ServiceUnavailable, message_of
from step import logger, step

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import ProductionVariantInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import (
        DeploymentConfigTypeDef,
        DescribeEndpointOutputTypeDef,
        ProductionVariantTypeDef,
        TagTypeDef,
        TrafficRoutingConfigTypeDef,
    )

# A canary may be at most half of the fleet, a linear step at least a tenth and at most half (UpdateEndpoint).
_CANARY_PERCENT, _LINEAR_PERCENT = 25, 25


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
        theirs = endpoint.config_tags(run.execution.id, serving) if live and serving else {}
        if live:
            _must_give_way(live, theirs, run, given.lease)
        _create_config(given, serving, theirs.get(endpoint.MODEL, ""))
    waiting = tokens.store(arn, given.token, run.name)
    if change:
        _change(run, serving, exists=live is not None)
    if not asked:
        tokens.mark_asked(arn, run.name)
    # An event that came before the token was stored, or never came, is made up for here.
    outcome = endpoint.outcome(endpoint.describe(run.endpoint), run.name)
    if change and isinstance(outcome, PipelineError):
        # Accepted a moment ago: this is the endpoint as it was, or nothing at all, and not yet the end.
        return
    if outcome:
        tokens.answer(waiting, outcome)


def _change(run: Run, serving: str, *, exists: bool) -> None:
    """Have SageMaker accept the run's config for the endpoint."""
    sagemaker = aws.sagemaker()
    try:
        if not exists:
            sagemaker.create_endpoint(EndpointName=run.endpoint, EndpointConfigName=run.name)
        elif run.hosting.endpoint_type == "serverless":
            sagemaker.update_endpoint(EndpointName=run.endpoint, EndpointConfigName=run.name)
        else:
            former = _variant_of(serving)
            if former.get("InstanceType") != run.hosting.instance_type:
                # SageMaker refuses another instance type to a variant that scales; Finish lets it scale again.
                scaling.stop(run.endpoint)
            sagemaker.update_endpoint(
                EndpointName=run.endpoint,
                EndpointConfigName=run.name,
                # The count that scaling, or somebody by hand, has brought the fleet to is kept, unless the
                # deployment now asks for another than it last did.
                RetainAllVariantProperties=(former.get("InitialInstanceCount") == run.hosting.instance_count),
                DeploymentConfig=deployment_config(run.hosting, settings.alarms()),
            )
    except ClientError as error:
        if aws.already_exists(error) or aws.is_in_progress(error):
            raise EndpointBusy(f"Somebody else was first to change endpoint {run.endpoint}.") from error
        if aws.is_missing(error):
            raise _not_seen_yet(error) from error
        raise
    logger.info("Endpoint change accepted", endpoint=run.endpoint, config=run.name)


def deployment_config(hosting: HostingResources, alarms: list[str]) -> DeploymentConfigTypeDef:
    """How UpdateEndpoint is to shift traffic, and which alarms take the update back."""
    routing: TrafficRoutingConfigTypeDef
    if hosting.instance_count == 1 or hosting.traffic_shifting == "all_at_once":
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    elif hosting.traffic_shifting == "canary":
        routing = {
            "Type": "CANARY",
            "WaitIntervalInSeconds": hosting.watch_seconds,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": _CANARY_PERCENT},
        }
    else:
        routing = {
            "Type": "LINEAR",
            "WaitIntervalInSeconds": hosting.watch_seconds,
            "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": _LINEAR_PERCENT},
        }
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": hosting.watch_seconds,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm} for alarm in alarms]},
    }


def _variant_of(config: str) -> Mapping[str, Any]:
    """The variant that a config asks for; empty where the config is gone."""
    try:
        described = aws.sagemaker().describe_endpoint_config(EndpointConfigName=config)
    except ClientError as error:
        if not aws.is_missing(error):
            raise
        return {}
    return described["ProductionVariants"][0]


def _must_give_way(
    live: DescribeEndpointOutputTypeDef, theirs: dict[str, str], run: Run, lease: Lease
) -> None:
    """Raise unless `live`, which does not serve this run, may be updated now."""
    status = live["EndpointStatus"]
    if status not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {status}.")
    if status != "InService":
        # SageMaker allows nothing but DeleteEndpoint on a failed endpoint; the next attempt creates a new
        # one.
        raise endpoint.delete(run.endpoint)
    if int(theirs.get(endpoint.GENERATION, 0)) > lease.generation:
        raise LeaseLost(
            f"Endpoint {run.endpoint} already serves {theirs.get(endpoint.RUN)}, of a run that had the lease "
            "after this one; a newer model is not replaced by an older one."
        )


def _variant(run: Run) -> ProductionVariantTypeDef:
    hosting = run.hosting
    variant: ProductionVariantTypeDef = {"VariantName": endpoint.VARIANT, "ModelName": run.name}
    if hosting.endpoint_type == "serverless":
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": hosting.serverless_memory_mb,
            "MaxConcurrency": hosting.serverless_max_concurrency,
        }
    else:
        variant["InstanceType"] = cast("ProductionVariantInstanceTypeType", hosting.instance_type)
        variant["InitialInstanceCount"] = hosting.instance_count
    return variant


def _create_config(given: DeployInput, previous: str, previous_model: str) -> None:
    """Create the run's endpoint config, or tell an existing one what it is now to replace."""
    run, sagemaker = given.run, aws.sagemaker()
    place = {
        endpoint.GENERATION: str(given.lease.generation),
        endpoint.PREVIOUS: previous,
        endpoint.PREVIOUS_MODEL: previous_model,
    }
    tags: list[TagTypeDef] = [{"Key": key, "Value": value} for key, value in place.items()]
    try:
        sagemaker.create_endpoint_config(
            EndpointConfigName=run.name,
            ProductionVariants=[_variant(run)],
            Tags=[*endpoint.tags(run, given.registered), *tags],
        )
    except ClientError as error:
        if aws.is_missing(error):
            raise _not_seen_yet(error) from error
        # The name is this execution's own: an earlier attempt of this step made it.
        if not aws.already_exists(error):
            raise
        sagemaker.add_tags(ResourceArn=names.arn(run, "endpoint-config", run.name), Tags=tags)


def _not_seen_yet(error: ClientError) -> ServiceUnavailable:
    """SageMaker reads its records with a delay, and asks for another attempt (CreateEndpoint's reference).

    What it could not find, the model or the config, was there a moment ago.
    """
    return ServiceUnavailable(f"{error.operation_name}: {message_of(error)}")
