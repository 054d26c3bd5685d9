"""How long each step of an execution took, from the execution's history."""

import itertools
import re
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from core import aws
from core.logging import logger

# Step Functions ends an execution at 25,000 events, and returns at most 1,000 a page.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_MOST_EVENTS = 25_000


def of_execution(arn: str) -> dict[str, float]:
    """Return seconds by step and in `total`; nothing if the history cannot be read.

    A step is a Task or Map state, in snake_case. Its time begins at the end of the step before it, so a wait
    between two visits of a step is part of the step. The step that calls this function has not ended and is
    left out.
    """
    paginator = aws.stepfunctions().get_paginator("get_execution_history")
    pages = paginator.paginate(
        executionArn=arn,
        includeExecutionData=False,
        PaginationConfig={"MaxItems": _MOST_EVENTS, "PageSize": 1000},
    )
    try:
        history = pages.build_full_result()
    except (ClientError, BotoCoreError) as error:
        # A run does not fail over its report.
        logger.warning("The report has no durations", reason=str(error))
        return {}
    entered = [event for event in history["events"] if "stateEnteredEventDetails" in event]
    if "NextToken" in history or not entered:
        return {}
    return _by_step(history["events"][0]["timestamp"], entered)


def _by_step(began: datetime, entered: list[dict[str, Any]]) -> dict[str, float]:
    # A state ends when the next one is entered. Exits would tell less: a task that is caught may have none.
    seconds: dict[str, float] = {}
    since = began
    for event, following in itertools.pairwise(entered):
        if event["type"] in ("TaskStateEntered", "MapStateEntered"):
            step = re.sub(r"(?<=.)(?=[A-Z])", "_", event["stateEnteredEventDetails"]["name"]).lower()
            seconds[step] = seconds.get(step, 0.0) + (following["timestamp"] - since).total_seconds()
            since = following["timestamp"]
    return {**seconds, "total": (entered[-1]["timestamp"] - began).total_seconds()}
