"""Each invocation as CloudWatch sees it, in the namespace AWS/SageMaker.

An invocation costs its caller one append to a queue; a thread counts what has come, and hands it to the host
a few times a second. Latencies are counted by two significant digits: enough for percentiles, and few values.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

import contextlib
import logging
import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from localcloud.sagemaker.host import Host, Measurement

NAMESPACE = "AWS/SageMaker"
GATHER = 0.2
"""Seconds for which invocations are gathered before they are counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Invocation:
    """One request and its answer.

    config: the endpoint configuration of the fleet that answered.
    instances: how many the variant has; None when it is serverless.
    status: the model's HTTP status; 0 when it did not answer in time.
    model_latency, overhead_latency: seconds within the model, and in all else.
    """

    endpoint: str
    config: str
    variant: str
    instances: int | None
    status: int
    model_latency: float
    overhead_latency: float

    def measures(self) -> Iterator[tuple[str, str, float]]:
        """Each metric's name, unit and value."""
        yield "Invocations", "None", 1.0
        if self.instances:
            yield "InvocationsPerInstance", "None", 1 / self.instances
        yield "Invocation4XXErrors", "None", float(400 <= self.status < 500)
        yield "Invocation5XXErrors", "None", float(self.status >= 500 or self.status == 0)
        yield "ModelLatency", "Microseconds", _coarse(self.model_latency)
        yield "OverheadLatency", "Microseconds", _coarse(self.overhead_latency)


class InvocationMetrics:
    """Passes invocations on to the host's CloudWatch."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._queue: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, name="sagemaker-metrics", daemon=True)
        self._thread.start()

    def add(self, invocation: Invocation) -> None:
        """Count this one; returns at once."""
        self._queue.put(invocation)

    def close(self, timeout: float = 5.0) -> None:
        """Pass on what is left, then stop."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(timeout)

    def _pass_on(self) -> None:
        while (first := self._queue.get()) is not None:
            self._closing.wait(GATHER)
            gathered = [first]
            with contextlib.suppress(queue.Empty):
                while (more := self._queue.get_nowait()) is not None:
                    gathered.append(more)
                self._queue.put(None)  # the end, which is for the outer loop
            try:
                self._host.put_metrics(NAMESPACE, list(_measurements(gathered)))
            except Exception:  # One failure must not silence all later ones.
                _log.exception("could not put the metrics of %d invocations", len(gathered))


def _measurements(invocations: Iterable[Invocation]) -> Iterator[Measurement]:
    """With the dimensions of the endpoint's variant, and with those of the variant's one configuration."""
    counted: defaultdict[tuple[tuple[str, ...], str, str], Counter[float]] = defaultdict(Counter)
    for invocation in invocations:
        named: tuple[str, ...] = (invocation.endpoint, invocation.variant, invocation.config)
        for metric, unit, value in invocation.measures():
            counted[named, metric, unit][value] += 1
            counted[named[:2], metric, unit][value] += 1
    for (named, metric, unit), values in counted.items():
        dimensions = dict(zip(("EndpointName", "VariantName", "EndpointConfigName"), named, strict=False))
        yield Measurement(metric, dimensions, unit, values)


def _coarse(seconds: float) -> float:
    """Microseconds, by two significant digits."""
    return float(f"{seconds * 1_000_000:.1e}")
