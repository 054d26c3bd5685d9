"""When an endpoint was last used, by CloudWatch's `Invocations` metric."""

from datetime import UTC, datetime, timedelta

from core import aws
from serving import endpoint

# GetMetricStatistics returns at most 1,440 datapoints. It keeps older metrics only in longer periods; a
# period that is not a multiple of these returns no datapoints (GetMetricStatistics' API reference).
_MOST_DATAPOINTS = 1400
_SHORTEST_PERIODS = ((timedelta(days=14), 60), (timedelta(days=62), 300), (timedelta.max, 3600))


def last_used(name: str, within: timedelta) -> datetime | None:
    """Return the end of the latest period in which the endpoint was invoked.

    A period is one minute if `within` is 23 hours or less, else longer. CloudWatch receives invocations one
    or two minutes late, so the latest ones may be missing.

    Args:
        name: the endpoint.
        within: how far to look back.

    Returns:
        None if the endpoint was not invoked within that time.
    """
    now = datetime.now(UTC)
    shortest = next(seconds for age, seconds in _SHORTEST_PERIODS if within < age)
    period = shortest * -(-int(within.total_seconds()) // (_MOST_DATAPOINTS * shortest))
    datapoints = aws.cloudwatch().get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": endpoint.VARIANT},
        ],
        StartTime=now - within,
        # CloudWatch's clock may be ahead of this one, so look one period beyond now.
        EndTime=now + timedelta(seconds=period),
        Period=period,
        Statistics=["Sum"],
    )["Datapoints"]
    used = [datapoint["Timestamp"] for datapoint in datapoints if datapoint.get("Sum", 0) > 0]
    return max(used) + timedelta(seconds=period) if used else None
