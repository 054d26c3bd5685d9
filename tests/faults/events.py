"""Events that are lost, come twice, late, or before what they tell of is to be seen.

SageMaker's leave through its announcer, where the record has changed and nobody has read it yet; S3's and
Step Functions' through EventBridge.
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
from tests.faults.matching import Plan

_UPLOADS = "uploads/"
_ENDS = {
    "training-job": ("Completed", "Failed", "Stopped"),
    "endpoint": ("InService", "Failed"),
    "upload": ("Object Created",),
    "execution": ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"),
}


class Veils:
    """Resources whose Describe is to answer, for a while, what it answered before."""

    def __init__(self) -> None:
        self._hidden: dict[str, tuple[dict[str, Any], float]] = {}

    def __bool__(self) -> bool:
        return bool(self._hidden)

    def put(self, arn: str, before: dict[str, Any], seconds: float) -> None:
        self._hidden[arn] = before, time.monotonic() + seconds

    def over(self, arn: str) -> dict[str, Any] | None:
        """What the resource is to look like, or None: as it is."""
        before, until = self._hidden.get(arn, ({}, 0.0))
        return before if time.monotonic() < until else None

    def clear(self) -> None:
        self._hidden.clear()


class Post:
    """Delivers events as the plan says. Entered, it drops all, and those of before that are still to come."""

    def __init__(self, plan: Plan, veils: Veils) -> None:
        self._plan = plan
        self._veils = veils
        self._closed = 0
        self._round = 0

    def __enter__(self) -> None:
        self._closed += 1
        self._round += 1
        self._plan.catch_up()

    def __exit__(self, *_: object) -> None:
        self._closed -= 1

    def carry(
        self,
        resource: str,
        status: str,
        arn: str,
        name: str,
        before: dict[str, Any],
        send: Callable[[], None],
    ) -> None:
        """Send one event, of a resource that has come to a status and was described as `before` until now."""
        if self._closed:
            return
        on = [f"{resource}:{status}", *([resource] if status in _ENDS[resource] else [])]
        fault = self._plan.take("event", on, [name]) or {"how": ""}
        how = fault["how"]
        if how == "lost":
            return
        if how == "late":
            self._later(fault["seconds"], send)
            return
        if how == "early":
            self._veils.put(arn, before, fault["seconds"])
        send()
        if how == "doubled":
            send()

    def pass_on(self, send: Callable[[], None]) -> None:
        """Send an event that the plan has no say in."""
        if not self._closed:
            send()

    def _later(self, seconds: float, send: Callable[[], None]) -> None:
        context = contextvars.copy_context()
        this, due = self._round, self._plan.due

        def deliver() -> None:
            due.wait(seconds)
            if this == self._round:
                context.run(send)

        threading.Thread(target=deliver, name="late-event", daemon=True).start()


class FaultyAnnouncer(Announcer):
    """SageMaker's events."""

    def __init__(self, host: Host, post: Post) -> None:
        super().__init__(host)
        self._post = post
        self._before: dict[str, dict[str, Any]] = {}

    def training_job(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        self._carry(
            "training-job",
            "TrainingJob",
            description,
            lambda: super(FaultyAnnouncer, self).training_job(description, tags),
        )

    def endpoint(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        told = {name: value for name, value in description.items() if (name, value) != ("FailureReason", "")}
        self._carry("endpoint", "Endpoint", told, lambda: super(FaultyAnnouncer, self).endpoint(told, tags))

    def _carry(self, resource: str, kind: str, description: dict[str, Any], send: Callable[[], None]) -> None:
        arn, status, name = (description[f"{kind}{member}"] for member in ("Arn", "Status", "Name"))
        before = self._before.get(arn, description)
        self._before[arn] = description
        self._post.carry(resource, status, arn, name, before, send)


def mend(post: Post) -> None:
    """Let EventBridge deliver uploads and executions as planned, and nothing while the post is closed."""
    from ministack.services import eventbridge as events

    dispatch = events._dispatch_event

    @functools.wraps(dispatch)
    def dispatching(event: dict[str, Any], view: Any = None) -> None:
        def send() -> None:
            dispatch(event, view)

        source, detail = event.get("Source"), json.loads(event.get("Detail") or "{}")
        if source == "aws.s3" and detail["object"]["key"].startswith(_UPLOADS):
            name = detail["object"]["key"].removeprefix(_UPLOADS)
            post.carry("upload", event["DetailType"], event["Resources"][0], name, {}, send)
        elif source == "aws.states":
            post.carry("execution", detail["status"], detail["executionArn"], detail["name"], {}, send)
        else:
            post.pass_on(send)

    events._dispatch_event = dispatching
