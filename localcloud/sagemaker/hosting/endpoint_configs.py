"""The operations on endpoint configs."""

from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.hosting.checks import check_endpoint_config, check_serverless
from localcloud.sagemaker.hosting.models import Models
from localcloud.sagemaker.hosting.records import EndpointConfig


class EndpointConfigs:
    """The endpoint configs and the operations on them."""

    def __init__(self, context: Context, models: Models) -> None:
        self._context = context
        self._models = models
        self._configs: dict[str, EndpointConfig] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateEndpointConfig."""
        check_endpoint_config(request)
        for variant in request["ProductionVariants"]:
            check_serverless(request, variant, self._models.get(variant["ModelName"]))
        variants = [{"InitialVariantWeight": 1.0} | variant for variant in request["ProductionVariants"]]
        arn = self._context.arn("endpoint-config", request["EndpointConfigName"])
        with self._context.lock:
            if arn in self._configs:
                raise ValidationError(f'Cannot create already existing endpoint configuration "{arn}".')
            self._context.tags.put(arn, tags_of(request))
            self._configs[arn] = EndpointConfig(arn, request | {"ProductionVariants": variants}, now())
        return {"EndpointConfigArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeEndpointConfig."""
        return self.get(request["EndpointConfigName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListEndpointConfigs."""
        with self._context.lock:
            summaries = [config.summary() for config in self._configs.values()]
        page, token = listing.page(summaries, request, kind="EndpointConfig", default_order="Descending")
        return {"EndpointConfigs": page, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteEndpointConfig. As on AWS, an endpoint that uses the config keeps serving."""
        with self._context.lock:
            arn = self.get(request["EndpointConfigName"]).arn
            del self._configs[arn]
            self._context.tags.drop(arn)

    def get(self, name: str) -> EndpointConfig:
        """Return the config; raise ValidationError if it does not exist."""
        arn = self._context.arn("endpoint-config", name)
        with self._context.lock:
            if arn not in self._configs:
                raise ValidationError(f'Could not find endpoint configuration "{arn}".')
            return self._configs[arn]

    def exists(self, arn: str) -> bool:
        """Return whether a config has this ARN."""
        return arn in self._configs
