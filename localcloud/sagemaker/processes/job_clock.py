"""How long a training job has had instances, and how much time it has left."""

import math
import time
from collections.abc import Mapping
from typing import Any

DEFAULT_MAX_RUNTIME = 86_400
"""Seconds: the default of StoppingCondition.MaxRuntimeInSeconds."""


class JobClock:
    """The times of one job, added up over all instances that it gets."""

    def __init__(self, condition: Mapping[str, Any]) -> None:
        """Start to measure, with the request's StoppingCondition."""
        self._max_runtime: float = condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
        self._max_wait: float = condition.get("MaxWaitTimeInSeconds", math.inf)
        self._created = time.monotonic()
        self._with_instances = _Stopwatch()
        self._training = _Stopwatch()

    def has_instances(self) -> None:
        """Record that the job got instances and the download begins."""
        self._with_instances.start()

    def trains(self) -> None:
        """Record that the training script starts; the job's training time counts from here."""
        self._training.start()

    def has_trained(self) -> None:
        """Record that the script has ended."""
        self._training.stop()

    def has_no_instances(self) -> None:
        """Record that the job lost its instances."""
        self._with_instances.stop()

    @property
    def seconds(self) -> int:
        """Whole seconds that the job has had instances."""
        return round(self._with_instances.seconds)

    @property
    def runtime_left(self) -> float:
        """Seconds that the script may still run."""
        return self._max_runtime - self._training.seconds

    @property
    def wait_left(self) -> float:
        """Seconds until a managed spot job must be finished; infinite for other jobs."""
        return self._max_wait - (time.monotonic() - self._created)


class _Stopwatch:
    def __init__(self) -> None:
        self._earlier = 0.0
        self._began: float | None = None

    def start(self) -> None:
        self._began = time.monotonic()

    def stop(self) -> None:
        self._earlier = self.seconds
        self._began = None

    @property
    def seconds(self) -> float:
        return self._earlier + (0.0 if self._began is None else time.monotonic() - self._began)
