"""Events that are lost, doubled, late, or earlier than the change that they are about.

SageMaker's events pass through its announcer. At that point the record has changed, and nobody has read it
yet. Events of S3 and Step Functions pass through EventBridge.
"""

import contextvars
import functools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from localcloud.sagemaker.core.events import Announcer
from localcloud.sagemaker.core.host import Host
from tests.faults.harness.fault_plan import FaultPlan

_UPLOADS = "uploads/"
_ENDS = {
    "training-job": ("Completed", "Failed", "Stopped"),
    "endpoint": ("InService", "Failed"),
    "upload": ("Object Created",),
    "execution": ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"),
}


class FormerStates:
    """Resources whose Describe operation returns their former state for some time."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[dict[str, Any], float]] = {}

    def __bool__(self) -> bool:
        return bool(self._states)

    def put(self, arn: str, description: dict[str, Any], seconds: float) -> None:
        """Show this description of the resource for `seconds`."""
        self._states[arn] = description, time.monotonic() + seconds

    def get(self, arn: str) -> dict[str, Any] | None:
        """Return the former description of a resource, or None if the present one is visible."""
        description, until = self._states.get(arn, ({}, 0.0))
        return description if time.monotonic() < until else None

    def clear(self) -> None:
        """Show the present state of every resource."""
        self._states.clear()


class EventDelivery:
    """Delivers events as the plan says. As a context manager it drops all events, late ones included."""

    def __init__(self, plan: FaultPlan, former_states: FormerStates) -> None:
        self._plan = plan
        self._former_states = former_states
        self._closed = 0
        self._test = 0
        """Counts the tests, because an event that comes after its test is dropped."""

    def __enter__(self) -> None:
        self._closed += 1
        self._test += 1
        self._plan.end_delays()

    def __exit__(self, *_: object) -> None:
        self._closed -= 1

    def deliver(
        self,
        resource: str,
        status: str,
        arn: str,
        name: str,
        send: Callable[[], None],
        former: dict[str, Any] | None = None,
    ) -> None:
        """Deliver the event of a resource that has reached a status.

        Args:
            resource: A key of _ENDS.
            status: The new status, in the spelling of the Describe operation.
            arn: The resource's ARN.
            name: The resource's name, for faults that name it.
            send: Sends the event once.
            former: The description of the resource before the change.
        """
        if self._closed:
            return
        on = [f"{resource}:{status}", *([resource] if status in _ENDS[resource] else [])]
        fault = self._plan.take("event", on, [name]) or {"how": ""}
        how = fault["how"]
        if how == "lost":
            return
        if how == "late":
            self._send_later(fault["seconds"], send)
            return
        if how == "early":
            self._former_states.put(arn, former or {}, fault["seconds"])
        send()
        if how == "doubled":
            send()

    def deliver_unplanned(self, send: Callable[[], None]) -> None:
        """Deliver an event that no fault is about."""
        if not self._closed:
            send()

    def _send_later(self, seconds: float, send: Callable[[], None]) -> None:
        context = contextvars.copy_context()
        test, over = self._test, self._plan.delays_over

        def wait_and_send() -> None:
            over.wait(seconds)
            if test == self._test:
                context.run(send)

        threading.Thread(target=wait_and_send, name="late-event", daemon=True).start()


class FaultyAnnouncer(Announcer):
    """The sender of SageMaker's events."""

    def __init__(self, host: Host, delivery: EventDelivery) -> None:
        super().__init__(host)
        self._delivery = delivery
        self._descriptions: dict[str, dict[str, Any]] = {}

    def training_job(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        """Deliver an event about a training job."""
        self._deliver(
            "training-job",
            "TrainingJob",
            description,
            lambda: super(FaultyAnnouncer, self).training_job(description, tags),
        )

    def endpoint(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        """Deliver an event about an endpoint."""
        shown = without_empty_reason(description)
        self._deliver(
            "endpoint", "Endpoint", shown, lambda: super(FaultyAnnouncer, self).endpoint(shown, tags)
        )

    def _deliver(
        self, resource: str, kind: str, description: dict[str, Any], send: Callable[[], None]
    ) -> None:
        arn, status, name = (description[f"{kind}{member}"] for member in ("Arn", "Status", "Name"))
        former = self._descriptions.get(arn, description)
        self._descriptions[arn] = description
        self._delivery.deliver(resource, status, arn, name, send, former)


def without_empty_reason(description: dict[str, Any]) -> dict[str, Any]:
    """Leave out an empty FailureReason. A planned rollback without a reason sets it."""
    return {name: value for name, value in description.items() if (name, value) != ("FailureReason", "")}


def patch(delivery: EventDelivery) -> None:
    """Let EventBridge deliver the events of uploads and executions as planned."""
    from ministack.services import eventbridge as events

    dispatch = events._dispatch_event

    @functools.wraps(dispatch)
    def dispatch_as_planned(event: dict[str, Any], view: Any = None) -> None:
        def send() -> None:
            dispatch(event, view)

        source, detail = event.get("Source"), json.loads(event.get("Detail") or "{}")
        if source == "aws.s3" and detail["object"]["key"].startswith(_UPLOADS):
            name = detail["object"]["key"].removeprefix(_UPLOADS)
            delivery.deliver("upload", event["DetailType"], event["Resources"][0], name, send)
        elif source == "aws.states":
            delivery.deliver("execution", detail["status"], detail["executionArn"], detail["name"], send)
        else:
            delivery.deliver_unplanned(send)

    events._dispatch_event = dispatch_as_planned
