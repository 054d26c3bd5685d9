"""The step that puts the run's model on the endpoint: create it, or update what is there; the task token does
the waiting.

A real-time endpoint is updated blue/green, its traffic shifted as the run asks, and taken back by itself when
an alarm sounds. From and to serverless it takes a plain update, for SageMaker offers nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from contracts.request import HostingResources
from contracts.run import Lease, Run
from contracts.serving import DeployInput
from coordination import task_tokens
from core import aws, environment, names
from core.errors import EndpointBusy, LeaseLost, PipelineError, ServiceUnavailable, message_of
from core.logging import logger
from entry_point import step
from serving import endpoint, scaling

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import ProductionVariantInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import (
        CapacitySizeTypeDef,
        DeploymentConfigTypeDef,
        DescribeEndpointOutputTypeDef,
        ProductionVariantTypeDef,
        TagTypeDef,
        TrafficRoutingConfigTypeDef,
        UpdateEndpointInputTypeDef,
    )

# A canary may be at most half of the fleet, a linear step from a tenth to a half (see UpdateEndpoint).
# A quarter, rounded up to whole instances, is never more than half of two or more.
_STEPS = 4
# How long a new fleet may take to come up: capacity, the image, the model, its first ping.
_START_SECONDS = 3600


@step(DeployInput)
def handler(given: DeployInput) -> None:
    run = given.run
    arn = names.arn(run, "endpoint", run.endpoint)
    known = task_tokens.find(arn)
    asked = known is not None and known.run == run.name and known.asked
    live = endpoint.describe(run.endpoint)
    serving = live.get("EndpointConfigName", "") if live else ""
    change = not asked and serving != run.name
    theirs: Mapping[str, str] = {}
    if change:
        if live:
            endpoint.must_take(run, live)
            theirs = endpoint.config_tags(run.execution.id, serving)
            _must_give_way(live, theirs, run, given.lease)
        _create_config(given, serving, theirs.get(endpoint.MODEL, ""))
    waiting = task_tokens.store(arn, given.token, run.name)
    if change:
        _change(run, live, theirs)
    if not asked:
        task_tokens.mark_asked(arn, run.name)
    # An event that came before the token was stored, or never came, is made up for here.
    outcome = endpoint.outcome(endpoint.describe(run.endpoint), run.name)
    if change and isinstance(outcome, PipelineError):
        # Accepted a moment ago: this is the endpoint as it was, or nothing at all, and not yet the end.
        return
    if outcome:
        task_tokens.answer(waiting, outcome)


def _change(run: Run, live: DescribeEndpointOutputTypeDef | None, tags: Mapping[str, str]) -> None:
    """Have SageMaker accept the run's config for the endpoint; `tags` are those of the config it has."""
    sagemaker = aws.sagemaker()
    try:
        if live is None:
            sagemaker.create_endpoint(EndpointName=run.endpoint, EndpointConfigName=run.name)
        else:
            sagemaker.update_endpoint(**_update(run, live, tags))
    except ClientError as error:
        if aws.already_exists(error) or aws.is_in_progress(error):
            raise EndpointBusy(f"Somebody else was first to change endpoint {run.endpoint}.") from error
        if aws.is_missing(error):
            raise _not_seen_yet(error) from error
        raise
    logger.info("Endpoint change accepted", endpoint=run.endpoint, config=run.name)


def _update(
    run: Run, live: DescribeEndpointOutputTypeDef, tags: Mapping[str, str]
) -> UpdateEndpointInputTypeDef:
    """UpdateEndpoint's parameters; a fleet that would be in their way stops scaling."""
    hosting, variants = run.hosting, live.get("ProductionVariants", [])
    plain: UpdateEndpointInputTypeDef = {"EndpointName": run.endpoint, "EndpointConfigName": run.name}
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    if (
        hosting.endpoint_type == "serverless"
        or endpoint.is_serverless(live)
        or [each["VariantName"] for each in variants] != [endpoint.VARIANT]
    ):
        return plain
    former = endpoint.variant(live.get("EndpointConfigName", ""))
    if former is None or former.get("InstanceType") != hosting.instance_type:
        # SageMaker refuses another instance type to a variant that scales. Finish lets it scale again, or
        # Compensate.
        scaling.stop(run.endpoint)
    # The count that scaling, or somebody by hand, has brought the fleet to is kept, unless the deployment now
    # asks for another than it last did, or for one that scales no more.
    retain = (
        former is not None
        and former.get("InitialInstanceCount") == hosting.instance_count
        and (hosting.scales or endpoint.SCALES not in tags)
    )
    instances = variants[0].get("DesiredInstanceCount") if retain else None
    return {
        **plain,
        "RetainAllVariantProperties": retain,
        "DeploymentConfig": deployment_config(
            hosting, instances or hosting.instance_count, _silent(environment.alarms())
        ),
    }


def deployment_config(
    hosting: HostingResources, instances: int, alarms: list[str]
) -> DeploymentConfigTypeDef:
    """How UpdateEndpoint shifts traffic to a fleet of so many instances, and which alarms take it back."""
    # In instances and not in percent, for a quarter of two is no instance, or one.
    size: CapacitySizeTypeDef = {"Type": "INSTANCE_COUNT", "Value": -(-instances // _STEPS)}
    routing: TrafficRoutingConfigTypeDef
    if instances == 1 or hosting.traffic_shifting == "all_at_once":
        steps = 1
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    elif hosting.traffic_shifting == "canary":
        steps = 2
        routing = {"Type": "CANARY", "WaitIntervalInSeconds": hosting.watch_seconds, "CanarySize": size}
    else:
        steps = _STEPS
        routing = {"Type": "LINEAR", "WaitIntervalInSeconds": hosting.watch_seconds, "LinearStepSize": size}
    config: DeploymentConfigTypeDef = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": hosting.watch_seconds,
            # It has to be longer than all the waits together, and may be up to 8 hours.
            "MaximumExecutionTimeoutInSeconds": steps * hosting.watch_seconds + _START_SECONDS,
        }
    }
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": alarm} for alarm in alarms]}
    return config


def _silent(alarms: list[str]) -> list[str]:
    """Those of the alarms that do not sound now.

    One that does tells of the fleet that is there, and would take back whatever replaces it: an endpoint that
    is overloaded, or whose model fails, could never be mended.
    """
    answer = aws.cloudwatch().describe_alarms(AlarmNames=alarms, StateValue="ALARM")
    sounding = {alarm.get("AlarmName", "") for alarm in answer["MetricAlarms"]}
    if sounding:
        logger.warning("The update is not watched by alarms that sound before it", alarms=sorted(sounding))
    return [alarm for alarm in alarms if alarm not in sounding]


def _must_give_way(
    live: DescribeEndpointOutputTypeDef, theirs: Mapping[str, str], run: Run, lease: Lease
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
