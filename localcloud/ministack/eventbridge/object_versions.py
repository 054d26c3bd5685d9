"""The version id in S3's events.

AWS: an event about an object of a versioned bucket contains the object's version id.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
MiniStack: the events do not contain it.
Here: it is added to each event before the event is matched with the rules.
"""

import contextvars
import functools
import inspect
import json
from typing import Any

_version_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("version_id", default=None)


def patch() -> None:
    """Add the version id to the events."""
    from ministack.services import eventbridge as events
    from ministack.services import s3

    fire = s3._fire_s3_event
    dispatch = events._dispatch_event

    @functools.wraps(fire)
    def fire_with_version(*args: Any, **kwargs: Any) -> None:
        version = inspect.signature(fire).bind(*args, **kwargs).arguments.get("version_id")
        previous = _version_id.set(version)
        try:
            fire(*args, **kwargs)
        finally:
            _version_id.reset(previous)

    @functools.wraps(dispatch)
    def dispatch_with_version(event: dict[str, Any], view: Any = None) -> None:
        version = _version_id.get()
        if view is None and event.get("Source") == "aws.s3" and version:
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    s3._fire_s3_event = fire_with_version
    events._dispatch_event = dispatch_with_version
