"""How long a training job has had instances, and how much longer it may take."""

import math
import time
from collections.abc import Mapping
from typing import Any

DEFAULT_MAX_RUNTIME = 86_400
"""Seconds: StoppingCondition.MaxRuntimeInSeconds when the request names none."""


class TrainingClock:
    """A job's times. Its instances may be taken away and others come: those times add up."""

    def __init__(self, condition: Mapping[str, Any]) -> None:
        """condition: the request's StoppingCondition."""
        self._max_runtime: float = condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
        self._max_wait: float = condition.get("MaxWaitTimeInSeconds", math.inf)
        self._created = time.monotonic()
        self._with_instances = _Stopwatch()
        self._training = _Stopwatch()

    def has_instances(self) -> None:
        """The data's download begins."""
        self._with_instances.start()

    def trains(self) -> None:
        """The script begins."""
        self._training.start()

    def has_trained(self) -> None:
        """The script has ended."""
        self._training.stop()

    def has_no_instances(self) -> None:
        """They were taken away."""
        self._with_instances.stop()

    @property
    def seconds(self) -> int:
        """Whole seconds the job has had instances."""
        return round(self._with_instances.seconds)

    @property
    def runtime_left(self) -> float:
        """Seconds the script may still run, over all instances it has."""
        return self._max_runtime - self._training.seconds

    @property
    def wait_left(self) -> float:
        """Seconds until a managed spot job has to be done, whatever it waited for; else infinite."""
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
