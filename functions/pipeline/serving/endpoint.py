"""The endpoint, its configs and the model behind them: what SageMaker says of them, and how they go.

While an update is under way, and after one that was taken back, Describe gives the former config's name
(aws-controllers-k8s/sagemaker-controller#7, terraform-provider-aws#39099). So "is it serving this run" can
only be asked of a settled endpoint, and only once SageMaker has accepted the change (`tokens.Waiting.asked`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from contracts.registry import Registered
from contracts.run import Run
from contracts.serving import Deployed
from core import aws, names
from core.errors import (
    EndpointBusy,
    EndpointFailed,
    InvalidInput,
    Misconfigured,
    PipelineError,
    UpdateReverted,
)
from core.logging import logger

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        DescribeEndpointOutputTypeDef,
        ProductionVariantOutputTypeDef,
        TagTypeDef,
    )

# What an endpoint may stay in. Creating, Updating, SystemUpdating, RollingBack and Deleting pass.
_BROKEN = {"Failed", "UpdateRollbackFailed", "OutOfService"}
SETTLED = {"InService"} | _BROKEN
# What an endpoint answers requests in.
SERVING = {"InService", "Updating", "SystemUpdating", "RollingBack"}
VARIANT = "AllTraffic"

# The run that made a model or config, the run that trained the model, and what it was trained on.
RUN, MODEL, DATASET = "lexline:run", "lexline:model", "lexline:dataset"
FINGERPRINT, IDENTITY, PERPLEXITY = "lexline:fingerprint", "lexline:identity", "lexline:test-perplexity"
# The lease's generation when the config was made, and the config and model that it took the place of.
GENERATION, PREVIOUS, PREVIOUS_MODEL = "lexline:generation", "lexline:previous", "lexline:previous-model"
# On a config that passed its smoke test: when; how far its fleet scales; and when, or after how long unused,
# it is to be taken down.
VERIFIED, SCALES = "lexline:verified", "lexline:scales"
TEARDOWN_AT, TEARDOWN_WHEN_IDLE = "lexline:teardown-at", "lexline:teardown-when-idle"
# On a failed run's config: the endpoint is deleted so that it can be created again with the previous one.
RESTORING = "lexline:restoring"


def tags(run: Run, registered: Registered) -> list[TagTypeDef]:
    """What a model and an endpoint config say about themselves."""
    perplexity = registered.test_perplexity
    told = {
        RUN: run.name,
        MODEL: registered.model,
        DATASET: registered.dataset,
        FINGERPRINT: registered.fingerprint,
        IDENTITY: registered.identity,
        PERPLEXITY: "" if perplexity is None else f"{perplexity:.4f}",
    }
    return [{"Key": key, "Value": value} for key, value in told.items() if value]


def describe(name: str) -> DescribeEndpointOutputTypeDef | None:
    """The endpoint as SageMaker has it, or None."""
    try:
        return aws.sagemaker().describe_endpoint(EndpointName=name)
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise


def outcome(live: DescribeEndpointOutputTypeDef | None, config: str) -> Deployed | PipelineError | None:
    """What became of the accepted change to `config`, or None while it is under way."""
    if live is None or live["EndpointStatus"] == "Deleting":
        return EndpointFailed("The endpoint was deleted while it was being deployed to.")
    name, status = live["EndpointName"], live["EndpointStatus"]
    reason = live.get("FailureReason", "")
    if status in _BROKEN:
        return EndpointFailed(f"Endpoint {name} is {status}: {reason or 'SageMaker gave no reason.'}")
    if status != "InService":
        return None
    serving = live.get("EndpointConfigName", "")
    if serving != config:
        return UpdateReverted(
            f"SageMaker took the update of endpoint {name} back; it still serves {serving}. "
            f"{reason or 'It gave no reason; the log of the new model may.'}"
        )
    variants = live.get("ProductionVariants", [])
    return Deployed(
        endpoint=name,
        arn=live["EndpointArn"],
        config=serving,
        instance_count=sum(each.get("CurrentInstanceCount", 0) for each in variants),
    )


def variant(config: str) -> ProductionVariantOutputTypeDef | None:
    """The variant that an endpoint config asks for; None where the config is gone."""
    try:
        described = aws.sagemaker().describe_endpoint_config(EndpointConfigName=config)
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise
    return described["ProductionVariants"][0]


def config_exists(name: str) -> bool:
    """Whether there is an endpoint config of that name."""
    return variant(name) is not None


def is_serverless(live: DescribeEndpointOutputTypeDef) -> bool:
    """Whether the endpoint runs only while it is asked."""
    return any("CurrentServerlessConfig" in each for each in live.get("ProductionVariants", []))


def must_take(run: Run, live: DescribeEndpointOutputTypeDef) -> None:
    """Raise InvalidInput if `live` cannot become what the run asks for, Misconfigured if it is another's.

    A serverless endpoint may become a real-time one, but not the other way round
    (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html). One that has failed is
    replaced as a whole.
    """
    serving = live.get("EndpointConfigName", "")
    # The roles may read and deploy only configs of such names.
    if not serving.startswith(f"{run.endpoint}-"):
        raise Misconfigured(
            f"Endpoint {run.endpoint} has the endpoint config {serving}, which no run has made. Delete that "
            "endpoint, or deploy the stack with another EndpointName."
        )
    if (
        run.hosting.endpoint_type == "serverless"
        and live["EndpointStatus"] in SERVING
        and not is_serverless(live)
    ):
        wish = json.dumps({"teardown_of": {"run": serving}})
        raise InvalidInput(
            f"hosting.endpoint_type: endpoint {run.endpoint} is real-time, and SageMaker cannot make it "
            "serverless. Ask for real-time, or have the endpoint taken down by an execution with the input "
            f"{wish} and run again."
        )


def config_tags(near: str, config: str) -> dict[str, str]:
    """The tags of an endpoint config in the region and account of the ARN `near`, few enough for one page.

    Empty for a config that is gone.
    """
    try:
        answer = aws.sagemaker().list_tags(ResourceArn=names.beside(near, "endpoint-config", config))
    except ClientError as error:
        if not aws.is_missing(error):
            raise
        return {}
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}


def delete(name: str) -> EndpointBusy:
    """Start deleting the endpoint. The answer is to be raised, for the state machine to come back later."""
    try:
        aws.sagemaker().delete_endpoint(EndpointName=name)
        logger.info("Endpoint is being deleted", endpoint=name)
    except ClientError as error:
        if not (aws.is_missing(error) or aws.is_in_progress(error)):
            raise
    return EndpointBusy(f"Endpoint {name} is being deleted.")


def delete_config_and_model(name: str) -> list[str]:
    """Delete what carries the run's name and is not served; answers what was there, as `<kind>/<name>`."""
    removed = [f"endpoint-config/{name}"] if delete_config(name) else []
    return [*removed, *([f"model/{name}"] if delete_model(name) else [])]


def delete_config(name: str) -> bool:
    """Delete an endpoint config that no endpoint has; whether it was there."""
    try:
        aws.sagemaker().delete_endpoint_config(EndpointConfigName=name)
    except ClientError as error:
        if not aws.is_missing(error):
            raise
        return False
    return True


def delete_model(name: str) -> bool:
    """Delete a model that no endpoint config has; whether it was there."""
    try:
        aws.sagemaker().delete_model(ModelName=name)
    except ClientError as error:
        if not aws.is_missing(error):
            raise
        return False
    return True
