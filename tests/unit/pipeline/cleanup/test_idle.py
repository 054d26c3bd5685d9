"""idle: the request to CloudWatch is one that it can answer, for any length of time."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from cleanup import idle
from tests.unit.pipeline.stubbed_aws import StubbedAws


@pytest.mark.parametrize("days", [1 / 86400, 1 / 24, 23 / 24, 1, 13.96, 14, 15, 61, 62, 63, 366])
def test_cloudwatch_has_the_datapoints_that_are_requested(stubbed: StubbedAws, days: float) -> None:
    """By GetMetricStatistics' reference: at most 1,440 datapoints; and from a start 15 days ago the period
    is a multiple of 300 s, from 63 days ago of 3,600 s. Otherwise there are none, as for an idle endpoint.
    """
    within = timedelta(days=days)
    stubbed.answers("cloudwatch", "get_metric_statistics", {"Datapoints": []})
    assert idle.last_used("lexline", within) is None
    request = stubbed.parameters["GetMetricStatistics"]
    period, age = request["Period"], within + timedelta(minutes=5)
    multiple = 60 if age < timedelta(days=15) else 300 if age < timedelta(days=63) else 3600
    assert period % multiple == 0
    # CloudWatch rounds the start down to that multiple.
    span = (request["EndTime"] - request["StartTime"]).total_seconds()
    assert math.ceil((span + multiple) / period) + 1 <= 1440
    assert within >= timedelta(days=1) or period == 60


def test_the_last_use_is_the_end_of_its_period(stubbed: StubbedAws) -> None:
    """Otherwise an endpoint would be checked every second until a long period is over."""
    at = datetime(2026, 2, 1, tzinfo=UTC)
    stubbed.answers("cloudwatch", "get_metric_statistics", {"Datapoints": [{"Timestamp": at, "Sum": 1.0}]})
    last = idle.last_used("lexline", timedelta(days=30))
    assert last == at + timedelta(seconds=stubbed.parameters["GetMetricStatistics"]["Period"])
