"""What is kept: scalable targets, and with each its policies."""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localcloud.application_autoscaling.errors import ObjectNotFoundError
from localcloud.application_autoscaling.variants import VariantId


@dataclass
class ScalingPolicy:
    """One policy's record."""

    name: str
    arn: str
    configuration: dict[str, Any]
    """TargetTrackingScalingPolicyConfiguration."""
    created: datetime


@dataclass
class ScalableTarget:
    """One target's record."""

    id: VariantId
    arn: str
    instance_type: str
    """What the variant runs on; SageMaker does not change it while the variant is registered."""
    minimum: int
    maximum: int
    created: datetime
    suspended: dict[str, bool] = field(default_factory=dict)
    """What of SuspendedState was ever said."""
    policies: dict[str, ScalingPolicy] = field(default_factory=dict)


class ScalableTargets:
    """Every target there is; SageMaker asks it, too (`localcloud.sagemaker.hosting.scaling.Targets`).

    `lock` guards the records.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._targets: dict[VariantId, ScalableTarget] = {}

    def all(self) -> list[ScalableTarget]:
        with self.lock:
            return list(self._targets.values())

    def find(self, variant: VariantId) -> ScalableTarget | None:
        with self.lock:
            return self._targets.get(variant)

    def get(self, variant: VariantId) -> ScalableTarget:
        """The target, or AWS's ObjectNotFoundException."""
        target = self.find(variant)
        if target is None:
            raise ObjectNotFoundError(f"No scalable target registered for {variant.sentence()}")
        return target

    def put(self, target: ScalableTarget) -> None:
        with self.lock:
            self._targets[target.id] = target

    def remove(self, target: ScalableTarget) -> None:
        with self.lock:
            del self._targets[target.id]

    def arns(self, endpoint: str) -> list[str]:
        return [target.arn for target in self._of(endpoint)]

    def instance_types(self, endpoint: str) -> dict[str, str]:
        return {target.id.variant: target.instance_type for target in self._of(endpoint)}

    def deregister(self, endpoint: str) -> None:
        with self.lock:
            for target in self._of(endpoint):
                self.remove(target)

    def _of(self, endpoint: str) -> list[ScalableTarget]:
        """An endpoint's targets; to SageMaker, names that differ in case only are the same."""
        return [target for target in self.all() if target.id.endpoint.lower() == endpoint.lower()]
