"""Models: a container, its artifact and the role it runs as. Records only; endpoints do the running."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.sagemaker.api import listing
from localcloud.sagemaker.api.errors import ValidationError
from localcloud.sagemaker.core.context import Context, now
from localcloud.sagemaker.core.tags import tags_of


@dataclass(frozen=True)
class Model:
    """One model's record."""

    arn: str
    request: dict[str, Any]
    created: datetime

    @property
    def name(self) -> str:
        name: str = self.request["ModelName"]
        return name

    @property
    def role(self) -> str:
        role: str = self.request["ExecutionRoleArn"]
        return role

    @property
    def container(self) -> dict[str, Any]:
        """The container that answers invocations."""
        container: dict[str, Any] = self.request.get("PrimaryContainer") or self.request["Containers"][0]
        return container

    def summary(self) -> dict[str, Any]:
        return {"ModelName": self.name, "ModelArn": self.arn, "CreationTime": self.created}

    def describe(self) -> dict[str, Any]:
        described = {name: value for name, value in self.request.items() if name != "Tags"}
        return {"EnableNetworkIsolation": False} | described | self.summary()


class Models:
    """The operations on models."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._models: dict[str, Model] = {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        _check(request)
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
        return self.get(request["ModelName"]).describe()

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._context.lock:
            summaries = [model.summary() for model in self._models.values()]
        shown, token = listing.page(summaries, request, kind="Model", default_order="Descending")
        return {"Models": shown, "NextToken": token}

    def delete(self, request: dict[str, Any]) -> None:
        """Endpoints that serve the model keep serving: they have their own copy of it."""
        with self._context.lock:
            arn = self.get(request["ModelName"]).arn
            del self._models[arn]
            self._context.tags.drop(arn)

    def get(self, name: str) -> Model:
        """The model, or AWS's ValidationError."""
        arn = self._context.arn("model", name)
        with self._context.lock:
            if arn not in self._models:
                raise ValidationError(f'Could not find model "{arn}".')
            return self._models[arn]

    def exists(self, arn: str) -> bool:
        return arn in self._models

    def _refuse_taken(self, arn: str) -> None:
        if arn in self._models:
            raise ValidationError(f'Cannot create already existing model "{arn}".')


def _check(request: dict[str, Any]) -> None:
    """What the service model does not say, and what this cloud does not have."""
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
            "The local cloud makes no model of a model package: give the container the Image and the "
            "ModelDataUrl that the package's InferenceSpecification has."
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
