"""The operations on endpoint configs."""

from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.core.resources import Resources
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.hosting.checks import check_endpoint_config, check_serverless
from localcloud.sagemaker.hosting.models import Models
from localcloud.sagemaker.hosting.records import EndpointConfig


class EndpointConfigs(Resources[EndpointConfig]):
    """The endpoint configs and the operations on them."""

    kind = "endpoint-config"
    missing = 'Could not find endpoint configuration "{arn}".'

    def __init__(self, context: Context, models: Models) -> None:
        super().__init__(context)
        self._models = models

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateEndpointConfig."""
        check_endpoint_config(request)
        for variant in request["ProductionVariants"]:
            check_serverless(request, variant, self._models.get(variant["ModelName"]))
        variants = [{"InitialVariantWeight": 1.0} | variant for variant in request["ProductionVariants"]]
        arn = self.arn(request["EndpointConfigName"])
        with self._context.lock:
            if arn in self._records:
                raise ValidationError(f'Cannot create already existing endpoint configuration "{arn}".')
            self._context.tags.put(arn, tags_of(request))
            self._records[arn] = EndpointConfig(arn, request | {"ProductionVariants": variants}, now())
        return {"EndpointConfigArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeEndpointConfig."""
        return self.get(request["EndpointConfigName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListEndpointConfigs."""
        page, token = listing.page(
            self._summaries(), request, kind="EndpointConfig", default_order="Descending"
        )
        return {"EndpointConfigs": page, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteEndpointConfig. As on AWS, an endpoint that uses the config keeps serving."""
        self._drop(request["EndpointConfigName"])
