"""Checks of hosting requests that botocore's service model does not express."""

from typing import Any

from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.hosting.records import EndpointConfig, Model

_UNAVAILABLE = {
    "AsyncInferenceConfig": "Asynchronous inference",
    "ExplainerConfig": "Explainability",
    "ShadowProductionVariants": "Shadow testing",
}


def check_model(request: dict[str, Any]) -> None:
    """Raise ValidationError if AWS or the local cloud refuses the CreateModel request."""
    if ("PrimaryContainer" in request) == ("Containers" in request):
        raise ValidationError("You must specify either PrimaryContainer or Containers, and not both.")
    containers = request.get("Containers") or [request.get("PrimaryContainer")]
    if len(containers) != 1 or containers[0] is None:
        raise ValidationError("Inference pipelines are not available in the local cloud: give one container.")
    container = containers[0]
    if "ExecutionRoleArn" not in request:
        raise ValidationError("ExecutionRoleArn is required to create a model.")
    if "Image" not in container:
        raise ValidationError(
            "The local cloud cannot create a model from a model package: give the container the Image and "
            "the ModelDataUrl of the package's InferenceSpecification."
        )
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise ValidationError("Multi-model containers are not available in the local cloud.")
    for name in ("ModelDataSource", "AdditionalModelDataSources"):
        if name in container:
            raise ValidationError(f"{name} is not available in the local cloud: give a ModelDataUrl.")
    if not container.get("ModelDataUrl", "").startswith("s3://"):
        raise ValidationError(
            "The local cloud serves model data from S3: ModelDataUrl must start with s3://."
        )


def check_endpoint_config(request: dict[str, Any]) -> None:
    """Raise ValidationError if AWS or the local cloud refuses the CreateEndpointConfig request."""
    for member, feature in _UNAVAILABLE.items():
        if member in request:
            raise ValidationError(f"{feature} ({member}) is not available in the local cloud.")
    names = [variant["VariantName"] for variant in request["ProductionVariants"]]
    if len(set(names)) < len(names):
        raise ValidationError("Production variant names must be unique within an endpoint configuration.")
    for variant in request["ProductionVariants"]:
        _check_variant(variant)


def _check_variant(variant: dict[str, Any]) -> None:
    name = variant["VariantName"]
    if "ModelName" not in variant:
        raise ValidationError(
            f"Inference components are not available in the local cloud: variant {name} needs a ModelName."
        )
    serverless = "ServerlessConfig" in variant
    real_time = [member for member in ("InstanceType", "InitialInstanceCount") if member in variant]
    if serverless and real_time:
        raise ValidationError(
            f"Variant {name} has a ServerlessConfig and so cannot have {' and '.join(real_time)}."
        )
    if not serverless and len(real_time) < 2:
        raise ValidationError(
            f"Variant {name} needs InstanceType and InitialInstanceCount, or a ServerlessConfig."
        )


def check_serverless(request: dict[str, Any], variant: dict[str, Any], model: Model) -> None:
    """Raise ValidationError if a variant breaks a limit of serverless inference.

    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    """
    if "ServerlessConfig" not in variant:
        return
    name, config = variant["VariantName"], variant["ServerlessConfig"]
    if config["MemorySizeInMB"] % 1024:
        raise ValidationError(
            f"Invalid MemorySizeInMB {config['MemorySizeInMB']} of variant {name}. Valid values are in 1 GB "
            "increments: 1024 MB, 2048 MB, 3072 MB, 4096 MB, 5120 MB, or 6144 MB."
        )
    if config.get("ProvisionedConcurrency", 0) > config["MaxConcurrency"]:
        raise ValidationError(
            f"Invalid ProvisionedConcurrency {config['ProvisionedConcurrency']} of variant {name}. It should "
            f"be less than or equal to MaxConcurrency, {config['MaxConcurrency']}."
        )
    excluded = {
        "multiple production variants": len(request["ProductionVariants"]) > 1,
        "data capture": "DataCaptureConfig" in request,
        "VPC configuration": "VpcConfig" in model.request,
        "network isolation": model.request.get("EnableNetworkIsolation", False),
    }
    for feature, used in excluded.items():
        if used:
            raise ValidationError(
                f"Serverless Inference does not support {feature} (variant {name}). Leave it out, or give "
                "the variant InstanceType and InitialInstanceCount."
            )


def check_update(arn: str, old: EndpointConfig, new: EndpointConfig, policy: dict[str, Any] | None) -> None:
    """Raise ValidationError if AWS does not allow an update from one endpoint config to another.

    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html

    Args:
        arn: The endpoint's ARN.
        old: The config that serves.
        new: The config to update to.
        policy: The update's DeploymentConfig.
    """
    if new.serverless and not old.serverless:
        raise ValidationError(
            f'Cannot update real-time endpoint "{arn}" to serverless inference: the endpoint '
            f'configuration "{new.arn}" is serverless. Create a new endpoint for it.'
        )
    for config in (old, new):
        check_guardrails(policy, config)
    before, after = ({variant["VariantName"] for variant in config.variants} for config in (old, new))
    if policy and before != after:
        raise ValidationError(
            "With a DeploymentConfig, the new endpoint configuration must have the same variant names as the "
            f"old one: they are {', '.join(sorted(after))}, and were {', '.join(sorted(before))}."
        )
    if policy and "RollingUpdatePolicy" in policy and len(after) > 1:
        raise ValidationError("RollingUpdatePolicy is not supported for endpoints with several variants.")


def check_guardrails(policy: dict[str, Any] | None, config: EndpointConfig) -> None:
    """Raise ValidationError if a serverless endpoint is given a DeploymentConfig."""
    if policy and config.serverless:
        raise ValidationError(
            "DeploymentConfig is not supported for serverless endpoints, and the endpoint configuration "
            f'"{config.arn}" is serverless: leave DeploymentConfig out.'
        )
