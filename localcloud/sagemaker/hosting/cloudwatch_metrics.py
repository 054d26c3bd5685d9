"""CloudWatch metrics of invocations, in the namespace AWS/SageMaker.

A caller only appends to a queue. A thread counts the invocations and sends the counts to the host a few times
a second. Latencies are rounded to two significant digits: precise enough for percentiles, with few distinct
values.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

import contextlib
import logging
import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from localcloud.sagemaker.core.host import Host, Measurement

NAMESPACE = "AWS/SageMaker"
GATHER = 0.2
"""Seconds to gather invocations before they are counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Invocation:
    """One request and its response.

    config: the name of the endpoint config of the fleet that responded.
    instances: the variant's number of instances; None if it is serverless.
    status: the model's HTTP status; 0 if it did not respond in time.
    model_latency: seconds in the model.
    overhead_latency: seconds in everything else.
    """

    endpoint: str
    config: str
    variant: str
    instances: int | None
    status: int
    model_latency: float
    overhead_latency: float

    def measures(self) -> Iterator[tuple[str, str, float]]:
        """Yield each metric's name, unit and value."""
        yield "Invocations", "None", 1.0
        if self.instances:
            yield "InvocationsPerInstance", "None", 1 / self.instances
        yield "Invocation4XXErrors", "None", float(400 <= self.status < 500)
        yield "Invocation5XXErrors", "None", float(self.status >= 500 or self.status == 0)
        yield "ModelLatency", "Microseconds", _coarse(self.model_latency)
        yield "OverheadLatency", "Microseconds", _coarse(self.overhead_latency)


class InvocationMetrics:
    """Sends the metrics of invocations to the host's CloudWatch."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._queue: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, name="sagemaker-metrics", daemon=True)
        self._thread.start()

    def add(self, invocation: Invocation) -> None:
        """Count an invocation; return immediately."""
        self._queue.put(invocation)

    def close(self, timeout: float = 5.0) -> None:
        """Send the remaining metrics, then stop."""
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
                self._queue.put(None)  # the end marker is for the outer loop
            try:
                self._host.put_metrics(NAMESPACE, list(_measurements(gathered)))
            except Exception:  # One failure must not stop all later metrics.
                _log.exception("Could not put the metrics of %d invocations", len(gathered))


def _measurements(invocations: Iterable[Invocation]) -> Iterator[Measurement]:
    """Yield each metric twice: for the endpoint's variant, and for the variant under one endpoint config."""
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
    """Return microseconds with two significant digits."""
    return float(f"{seconds * 1_000_000:.1e}")
