"""The operations on models. A model is only a record; endpoints run it."""

from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.core.resources import Resources
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.hosting.checks import check_model
from localcloud.sagemaker.hosting.records import Model


class Models(Resources[Model]):
    """The models and the operations on them."""

    kind = "model"
    missing = 'Could not find model "{arn}".'

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateModel."""
        check_model(request)
        name = request["ModelName"]
        arn = self.arn(name)
        self._refuse_taken(arn)
        self._context.environment_of(request["ExecutionRoleArn"], f"SageMaker-{name}")
        with self._context.lock:
            self._refuse_taken(arn)
            self._context.tags.put(arn, tags_of(request))
            self._records[arn] = Model(arn, request, now())
        return {"ModelArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeModel."""
        return self.get(request["ModelName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListModels."""
        page, token = listing.page(self._summaries(), request, kind="Model", default_order="Descending")
        return {"Models": page, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteModel. Endpoints that serve the model have their own copy and keep serving."""
        self._drop(request["ModelName"])

    def _refuse_taken(self, arn: str) -> None:
        if arn in self._records:
            raise ValidationError(f'Cannot create already existing model "{arn}".')
