"""The operations on models. A model is only a record; endpoints run it."""

from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of
from localcloud.sagemaker.hosting.checks import check_model
from localcloud.sagemaker.hosting.records import Model


class Models:
    """The models and the operations on them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._models: dict[str, Model] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle CreateModel."""
        check_model(request)
        name = request["ModelName"]
        arn = self._context.arn("model", name)
        self._refuse_taken(arn)
        self._context.environment_of(request["ExecutionRoleArn"], f"SageMaker-{name}")
        with self._context.lock:
            self._refuse_taken(arn)
            self._context.tags.put(arn, tags_of(request))
            self._models[arn] = Model(arn, request, now())
        return {"ModelArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle DescribeModel."""
        return self.get(request["ModelName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle ListModels."""
        with self._context.lock:
            summaries = [model.summary() for model in self._models.values()]
        page, token = listing.page(summaries, request, kind="Model", default_order="Descending")
        return {"Models": page, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """Handle DeleteModel. Endpoints that serve the model have their own copy and keep serving."""
        with self._context.lock:
            arn = self.get(request["ModelName"]).arn
            del self._models[arn]
            self._context.tags.drop(arn)

    def get(self, name: str) -> Model:
        """Return the model; raise ValidationError if it does not exist."""
        arn = self._context.arn("model", name)
        with self._context.lock:
            if arn not in self._models:
                raise ValidationError(f'Could not find model "{arn}".')
            return self._models[arn]

    def exists(self, arn: str) -> bool:
        """Return whether a model has this ARN."""
        return arn in self._models

    def _refuse_taken(self, arn: str) -> None:
        if arn in self._models:
            raise ValidationError(f'Cannot create already existing model "{arn}".')
