"""The endpoint: its state in SageMaker, and whether it can take a run's model.

During an update, and after an update that SageMaker rolled back, DescribeEndpoint returns the former config's
name (aws-controllers-k8s/sagemaker-controller#7, terraform-provider-aws#39099). So "does it serve this run"
has an answer only when the endpoint is settled, and only after SageMaker has accepted the change
(`task_tokens.Waiting.accepted`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from contracts.run import Run
from contracts.serving import Deployed
from core import aws, names, ownership
from core.errors import EndpointFailed, InvalidInput, Misconfigured, PipelineError, UpdateReverted

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import type_defs as types

# The states an endpoint may stay in. It leaves Creating, Updating, SystemUpdating, RollingBack and Deleting
# by itself.
_BROKEN = {"Failed", "UpdateRollbackFailed", "OutOfService"}
SETTLED = {"InService"} | _BROKEN
# The states in which an endpoint responds to requests.
SERVING = {"InService", "Updating", "SystemUpdating", "RollingBack"}
VARIANT = "AllTraffic"


def describe(name: str) -> types.DescribeEndpointOutputTypeDef | None:
    """Return DescribeEndpoint's response, or None if the endpoint does not exist."""
    return aws.or_none(lambda: aws.sagemaker().describe_endpoint(EndpointName=name))


def outcome(live: types.DescribeEndpointOutputTypeDef | None, config: str) -> Deployed | PipelineError | None:
    """Return how the accepted change to a config ended.

    Args:
        live: DescribeEndpoint's response, None if the endpoint does not exist.
        config: the endpoint config that SageMaker accepted.

    Returns:
        The deployment or the error it ended with, or None while it is in progress.
    """
    if live is None or live["EndpointStatus"] == "Deleting":
        return EndpointFailed("The endpoint was deleted during the deployment. Start the run again.")
    name, status = live["EndpointName"], live["EndpointStatus"]
    reason = live.get("FailureReason", "")
    if status in _BROKEN:
        return EndpointFailed(f"Endpoint {name} is {status}: {reason or 'SageMaker gave no reason.'}")
    if status != "InService":
        return None
    serving = live.get("EndpointConfigName", "")
    if serving != config:
        return UpdateReverted(
            f"SageMaker rolled back the update of endpoint {name}, which still serves {serving}. "
            f"{reason or 'SageMaker gave no reason; see the log of the new model.'}"
        )
    variants = live.get("ProductionVariants", [])
    return Deployed(
        endpoint=name,
        arn=live["EndpointArn"],
        config=serving,
        instance_count=sum(each.get("CurrentInstanceCount", 0) for each in variants),
    )


def variant(config: str) -> types.ProductionVariantOutputTypeDef | None:
    """Return the variant that an endpoint config defines, or None if the config does not exist."""
    described = aws.or_none(lambda: aws.sagemaker().describe_endpoint_config(EndpointConfigName=config))
    return described["ProductionVariants"][0] if described else None


def config_exists(name: str) -> bool:
    """Return whether an endpoint config of this name exists."""
    return variant(name) is not None


def create(name: str, config: str) -> None:
    """Start creating the endpoint."""
    aws.sagemaker().create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=[ownership.tag()])


def is_serverless(live: types.DescribeEndpointOutputTypeDef) -> bool:
    """Return whether the endpoint is serverless now."""
    return any("CurrentServerlessConfig" in each for each in live.get("ProductionVariants", []))


def check_can_take(run: Run, live: types.DescribeEndpointOutputTypeDef | None) -> dict[str, str]:
    """Check that the run may register its model and can update the endpoint to what it asks for.

    SageMaker updates a serverless endpoint to a real-time one, but not the reverse
    (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html). A failed endpoint can take
    anything: it is deleted and created again.

    Args:
        run: the run.
        live: DescribeEndpoint's response, None if the endpoint does not exist.

    Returns:
        The tags of the endpoint's config.

    Raises:
        NotOwned: the endpoint, its config or the registry is not this stack's.
        Misconfigured: no run created the endpoint's config.
        InvalidInput: the run asks for a serverless endpoint, and this one is real-time.
    """
    serving = live.get("EndpointConfigName", "") if live else ""
    # The roles allow access only to configs whose names begin so.
    named_by_a_run = serving.startswith(names.prefix(run.endpoint))
    config = ownership.arn("endpoint-config", serving)
    values = aws.tags_of(config) if named_by_a_run else None
    existing = [ownership.arn("endpoint", run.endpoint)] if live else []
    group = ownership.arn("model-package-group", run.endpoint)
    ownership.check_all({**ownership.read(*existing, group), config: values})
    if live is None:
        return {}
    if not named_by_a_run:
        raise Misconfigured(
            f"Endpoint {run.endpoint} has the endpoint config {serving}, which no run created. Delete that "
            "endpoint, or deploy the stack with another EndpointName."
        )
    is_real_time = live["EndpointStatus"] in SERVING and not is_serverless(live)
    if run.hosting.endpoint_type == "serverless" and is_real_time:
        request = json.dumps({"teardown_of": {"run": serving}})
        raise InvalidInput(
            f"hosting.endpoint_type: endpoint {run.endpoint} is real-time, and SageMaker cannot make it "
            "serverless. Use real-time; or tear the endpoint down with an execution whose input is "
            f"{request}, then start this run again."
        )
    return values or {}
