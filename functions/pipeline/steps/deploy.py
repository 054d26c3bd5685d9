"""Deploy: create the endpoint with the run's model, or update it; a task token does the waiting.

A real-time endpoint is updated blue/green: traffic shifts as the run asks, and SageMaker rolls the update
back if an alarm goes off. An update from or to a serverless endpoint is a plain one, because SageMaker offers
no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from cleanup import resources
from contracts.request import HostingResources
from contracts.run import Lease, Run
from contracts.serving import DeployInput
from coordination import task_tokens
from core import aws, environment, names
from core.errors import (
    CapacityUnavailable,
    EndpointBusy,
    LeaseLost,
    PipelineError,
    ServiceUnavailable,
    message_of,
    translate,
)
from core.logging import logger
from entry_point import step
from serving import endpoint, scaling, tags

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import type_defs as types
    from mypy_boto3_sagemaker.literals import ProductionVariantInstanceTypeType

# A canary may have at most half of the instances, and a linear step a tenth to a half of them
# (UpdateEndpoint's API reference). A quarter, rounded up to whole instances, is never more than half of two
# or more.
_SHIFTS = 4
# How long new instances may take to start: capacity, the image, the model, the first ping.
_START_SECONDS = 3600


@step(DeployInput)
def handler(given: DeployInput) -> None:
    """Have SageMaker accept the run's endpoint config, unless it has; the callback returns the outcome."""
    run = given.run
    arn = names.arn(run, "endpoint", run.endpoint)
    waiting = task_tokens.find(arn)
    accepted = waiting is not None and waiting.run == run.name and waiting.accepted
    live = endpoint.describe(run.endpoint)
    serving = live.get("EndpointConfigName", "") if live else ""
    change = not accepted and serving != run.name
    serving_tags: Mapping[str, str] = {}
    if change:
        serving_tags = endpoint.check_can_take(run, live)
        if live:
            _check_may_update(live, serving_tags, run, given.lease)
        _create_config(given, serving, serving_tags.get(tags.MODEL, ""))
    task_tokens.store(arn, given.token, run.name)
    if change:
        _create_or_update(run, live, serving_tags)
    if not accepted:
        task_tokens.mark_accepted(arn, run.name)
    # The event may have come before the token was stored, or may never come. Look once without it.
    outcome = endpoint.outcome(endpoint.describe(run.endpoint), run.name)
    if change and isinstance(outcome, PipelineError):
        # The change was accepted a moment ago, so this is still the endpoint's former state.
        return
    if outcome:
        task_tokens.complete(arn, given.token, outcome)


def _create_or_update(
    run: Run, live: types.DescribeEndpointOutputTypeDef | None, serving_tags: Mapping[str, str]
) -> None:
    try:
        if live is None:
            endpoint.create(run.endpoint, run.name)
        else:
            aws.sagemaker().update_endpoint(**_update_request(run, live, serving_tags))
    except ClientError as error:
        if aws.already_exists(error) or aws.is_in_progress(error):
            raise EndpointBusy(f"Another caller is changing endpoint {run.endpoint}.") from error
        if aws.is_missing(error):
            raise _not_visible_yet(error) from error
        if live and isinstance(translate(error), CapacityUnavailable):
            raise translate(error, _kept_instances(run, live)) from error
        raise
    logger.info("Endpoint change accepted", endpoint=run.endpoint, config=run.name)


def _kept_instances(run: Run, live: types.DescribeEndpointOutputTypeDef) -> int:
    """Return how many instances of the run's type the endpoint keeps until the new ones serve."""
    former = endpoint.variant(live.get("EndpointConfigName", ""))
    if former is None or former.get("InstanceType") != run.hosting.instance_type:
        return 0
    return former.get("InitialInstanceCount", 0)


def _update_request(
    run: Run, live: types.DescribeEndpointOutputTypeDef, serving_tags: Mapping[str, str]
) -> types.UpdateEndpointInputTypeDef:
    """Return UpdateEndpoint's parameters. Stop the scaling if SageMaker would refuse the update."""
    hosting, variants = run.hosting, live.get("ProductionVariants", [])
    plain: types.UpdateEndpointInputTypeDef = {"EndpointName": run.endpoint, "EndpointConfigName": run.name}
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    has_own_variant = [each["VariantName"] for each in variants] == [endpoint.VARIANT]
    if hosting.endpoint_type == "serverless" or endpoint.is_serverless(live) or not has_own_variant:
        return plain
    former = endpoint.variant(live.get("EndpointConfigName", ""))
    if former is None or former.get("InstanceType") != hosting.instance_type:
        # SageMaker refuses another instance type for a variant that scales. Finish or Compensate starts the
        # scaling again.
        scaling.stop(run.endpoint)
    # Keep the instance count that scaling, or a person, has set, unless this run asks for another count than
    # the last one did, or no longer for scaling.
    retain = (
        former is not None
        and former.get("InitialInstanceCount") == hosting.instance_count
        and (hosting.scales or tags.SCALES not in serving_tags)
    )
    instances = variants[0].get("DesiredInstanceCount") if retain else None
    return {
        **plain,
        "RetainAllVariantProperties": retain,
        "DeploymentConfig": deployment_config(
            hosting, instances or hosting.instance_count, _quiet_alarms(environment.alarms())
        ),
    }


def deployment_config(
    hosting: HostingResources, instances: int, alarms: list[str]
) -> types.DeploymentConfigTypeDef:
    """Return how UpdateEndpoint shifts traffic, and which alarms roll the update back.

    Args:
        hosting: the run's hosting resources.
        instances: how many instances the endpoint will have.
        alarms: names of CloudWatch alarms.
    """
    # In instances, not in percent: a quarter of two instances would be half an instance.
    size: types.CapacitySizeTypeDef = {"Type": "INSTANCE_COUNT", "Value": -(-instances // _SHIFTS)}
    routing: types.TrafficRoutingConfigTypeDef
    if instances == 1 or hosting.traffic_shifting == "all_at_once":
        shifts = 1
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    elif hosting.traffic_shifting == "canary":
        shifts = 2
        routing = {"Type": "CANARY", "WaitIntervalInSeconds": hosting.watch_seconds, "CanarySize": size}
    else:
        shifts = _SHIFTS
        routing = {"Type": "LINEAR", "WaitIntervalInSeconds": hosting.watch_seconds, "LinearStepSize": size}
    config: types.DeploymentConfigTypeDef = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": hosting.watch_seconds,
            # It must exceed the sum of all waits, and may be 8 hours at most.
            "MaximumExecutionTimeoutInSeconds": shifts * hosting.watch_seconds + _START_SECONDS,
        }
    }
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": alarm} for alarm in alarms]}
    return config


def _quiet_alarms(alarms: list[str]) -> list[str]:
    """Return the alarms that are not in ALARM now.

    An alarm that is in ALARM is about the present instances. It would roll back every update, so an endpoint
    that is overloaded, or whose model fails, could never be repaired.
    """
    response = aws.cloudwatch().describe_alarms(AlarmNames=alarms, StateValue="ALARM")
    in_alarm = {alarm.get("AlarmName", "") for alarm in response["MetricAlarms"]}
    if in_alarm:
        logger.warning("Alarms that are in ALARM do not watch the update", alarms=sorted(in_alarm))
    return [alarm for alarm in alarms if alarm not in in_alarm]


def _check_may_update(
    live: types.DescribeEndpointOutputTypeDef, serving_tags: Mapping[str, str], run: Run, lease: Lease
) -> None:
    """Raise unless the endpoint, which does not serve this run, may be updated now."""
    status = live["EndpointStatus"]
    if status not in endpoint.SETTLED:
        raise EndpointBusy(f"Endpoint {run.endpoint} is {status}.")
    if status != "InService":
        # SageMaker allows only DeleteEndpoint on a failed endpoint; the next attempt creates it.
        resources.delete_endpoint_and_retry(run.endpoint)
    if int(serving_tags.get(tags.GENERATION, 0)) > lease.generation:
        raise LeaseLost(
            f"Endpoint {run.endpoint} already serves {serving_tags.get(tags.RUN)}, whose run got the lease "
            "after this one. An older model does not replace a newer one."
        )


def _variant(run: Run) -> types.ProductionVariantTypeDef:
    hosting = run.hosting
    variant: types.ProductionVariantTypeDef = {"VariantName": endpoint.VARIANT, "ModelName": run.name}
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
    """Create the run's endpoint config. If it exists, update the tags that name the config it replaces."""
    run, sagemaker = given.run, aws.sagemaker()
    values = {
        tags.GENERATION: str(given.lease.generation),
        tags.PREVIOUS: previous,
        tags.PREVIOUS_MODEL: previous_model,
    }
    replacing: list[types.TagTypeDef] = [{"Key": key, "Value": value} for key, value in values.items()]
    try:
        sagemaker.create_endpoint_config(
            EndpointConfigName=run.name,
            ProductionVariants=[_variant(run)],
            Tags=[*tags.describing(run, given.registered), *replacing],
        )
    except ClientError as error:
        if aws.is_missing(error):
            raise _not_visible_yet(error) from error
        # The name is this execution's own, so an earlier attempt of this step created the config.
        if not aws.already_exists(error):
            raise
        tags.add(run, run.name, values)


def _not_visible_yet(error: ClientError) -> ServiceUnavailable:
    """Return the error for a model or config that SageMaker does not find a moment after its creation.

    SageMaker's reads are eventually consistent, and its documentation asks for a retry (CreateEndpoint's API
    reference).
    """
    return ServiceUnavailable(f"{error.operation_name}: {message_of(error)}")
