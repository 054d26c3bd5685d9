"""The records of scalable targets and of their policies."""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localcloud.application_autoscaling.errors import ObjectNotFoundError
from localcloud.application_autoscaling.variants import VariantId


@dataclass
class ScalingPolicy:
    """One policy; `configuration` is its TargetTrackingScalingPolicyConfiguration."""

    name: str
    arn: str
    configuration: dict[str, Any]
    created: datetime


@dataclass
class ScalableTarget:
    """One scalable target.

    instance_type: the variant's; SageMaker does not change it while the variant is registered.
    suspended: the members of SuspendedState that a request has set.
    """

    id: VariantId
    arn: str
    instance_type: str
    minimum: int
    maximum: int
    created: datetime
    suspended: dict[str, bool] = field(default_factory=dict)
    policies: dict[str, ScalingPolicy] = field(default_factory=dict)


class ScalableTargets:
    """All targets, for this service and for SageMaker (`localcloud.sagemaker.hosting.scaling.Targets`).

    `lock` guards the records.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._targets: dict[VariantId, ScalableTarget] = {}

    def all(self) -> list[ScalableTarget]:
        """Return every target."""
        with self.lock:
            return list(self._targets.values())

    def find(self, variant: VariantId) -> ScalableTarget | None:
        """Return the variant's target, or None."""
        with self.lock:
            return self._targets.get(variant)

    def get(self, variant: VariantId) -> ScalableTarget:
        """Return the variant's target; raise ObjectNotFoundError if it does not exist."""
        target = self.find(variant)
        if target is None:
            raise ObjectNotFoundError(f"No scalable target registered for {variant.sentence()}")
        return target

    def put(self, target: ScalableTarget) -> None:
        """Add a target."""
        with self.lock:
            self._targets[target.id] = target

    def remove(self, target: ScalableTarget) -> None:
        """Delete a target and its policies."""
        with self.lock:
            del self._targets[target.id]

    def arns(self, endpoint: str) -> list[str]:
        """Return the ARN of every target of the endpoint."""
        return [target.arn for target in self._of(endpoint)]

    def instance_types(self, endpoint: str) -> dict[str, str]:
        """Return the instance type of every target of the endpoint, by the variant's name."""
        return {target.id.variant: target.instance_type for target in self._of(endpoint)}

    def deregister(self, endpoint: str) -> None:
        """Delete every target of the endpoint."""
        with self.lock:
            for target in self._of(endpoint):
                self.remove(target)

    def _of(self, endpoint: str) -> list[ScalableTarget]:
        # SageMaker's names are not case-sensitive.
        return [target for target in self.all() if target.id.endpoint.lower() == endpoint.lower()]
