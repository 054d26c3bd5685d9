"""Endpoint configurations: which models an endpoint serves, on what. Immutable records, as on AWS."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.hosting.models import Model, Models

_NOT_HERE = {
    "AsyncInferenceConfig": "Asynchronous inference",
    "ExplainerConfig": "Explainability",
    "ShadowProductionVariants": "Shadow testing",
}


@dataclass(frozen=True)
class EndpointConfig:
    """One configuration's record."""

    arn: str
    request: dict[str, Any]
    created: datetime

    @property
    def name(self) -> str:
        name: str = self.request["EndpointConfigName"]
        return name

    @property
    def variants(self) -> list[dict[str, Any]]:
        variants: list[dict[str, Any]] = self.request["ProductionVariants"]
        return variants

    @property
    def serverless(self) -> bool:
        """Whether it is of a serverless endpoint; a real-time one has instances."""
        return any("ServerlessConfig" in variant for variant in self.variants)

    def summary(self) -> dict[str, Any]:
        return {"EndpointConfigName": self.name, "EndpointConfigArn": self.arn, "CreationTime": self.created}

    def describe(self) -> dict[str, Any]:
        described = {name: value for name, value in self.request.items() if name != "Tags"}
        return {"EnableNetworkIsolation": False} | described | self.summary()


class EndpointConfigs:
    """The operations on endpoint configurations."""

    def __init__(self, context: Context, models: Models) -> None:
        self._context = context
        self._models = models
        self._configs: dict[str, EndpointConfig] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        _check(request)
        for variant in request["ProductionVariants"]:
            model = self._models.get(variant["ModelName"])
            if "ServerlessConfig" in variant:
                _check_serverless(request, variant, model)
        variants = [{"InitialVariantWeight": 1.0} | variant for variant in request["ProductionVariants"]]
        arn = self._context.arn("endpoint-config", request["EndpointConfigName"])
        with self._context.lock:
            if arn in self._configs:
                raise ValidationError(f'Cannot create already existing endpoint configuration "{arn}".')
            self._context.tags.put(arn, tags_of(request))
            self._configs[arn] = EndpointConfig(arn, request | {"ProductionVariants": variants}, now())
        return {"EndpointConfigArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.get(request["EndpointConfigName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            summaries = [config.summary() for config in self._configs.values()]
        shown, token = listing.page(summaries, request, kind="EndpointConfig", default_order="Descending")
        return {"EndpointConfigs": shown, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """AWS deletes a configuration in use, too; the endpoint goes on serving but can no longer be
        described by it.
        """
        with self._context.lock:
            arn = self.get(request["EndpointConfigName"]).arn
            del self._configs[arn]
            self._context.tags.drop(arn)

    def get(self, name: str) -> EndpointConfig:
        """The configuration, or AWS's ValidationError."""
        arn = self._context.arn("endpoint-config", name)
        with self._context.lock:
            if arn not in self._configs:
                raise ValidationError(f'Could not find endpoint configuration "{arn}".')
            return self._configs[arn]

    def exists(self, arn: str) -> bool:
        return arn in self._configs


def _check(request: dict[str, Any]) -> None:
    """What the service model does not say, and what this cloud does not have."""
    for member, feature in _NOT_HERE.items():
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


def _check_serverless(request: dict[str, Any], variant: dict[str, Any], model: Model) -> None:
    """Limits and exclusions:
    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    """
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
