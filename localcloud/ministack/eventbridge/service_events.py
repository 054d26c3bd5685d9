"""Sending an event of an AWS service from inside the local cloud."""

import json
from collections.abc import Mapping
from typing import Any


def put_event(source: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
    """Put an event on the default bus.

    Args:
        source: The service, e.g. aws.sagemaker. Clients may not use the prefix "aws.".
        detail_type: The kind of event.
        detail: The event's content.
        resources: The ARNs of the resources that the event is about.
    """
    from ministack.services import eventbridge

    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": resources,
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
