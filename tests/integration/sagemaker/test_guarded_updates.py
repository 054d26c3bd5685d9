"""Canaries on the running local cloud: real fleets, real requests, and CloudWatch alarms on their errors.

Waits take a fiftieth of their length.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.sagemaker.conftest import Client, Clients, Sagemaker, Until

RUN = uuid.uuid4().hex[:8]


@pytest.fixture(scope="module")
def endpoint(sagemaker: Sagemaker) -> Iterator[str]:
    """An endpoint of two instances."""
    name = f"guarded-{RUN}"
    sagemaker.endpoint(name, sagemaker.config(f"good-{RUN}", instances=2))
    yield name
    sagemaker.delete(name)


@pytest.fixture
def before(sagemaker: Sagemaker, endpoint: str) -> str:
    """The config that serves at first, and its model's name."""
    return str(sagemaker.api.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"])


def dimensions(endpoint: str, config: str) -> list[dict[str, str]]:
    names = {"EndpointName": endpoint, "VariantName": "AllTraffic", "EndpointConfigName": config}
    return [{"Name": name, "Value": value} for name, value in names.items()]


def update(sagemaker: Sagemaker, cloudwatch: Any, endpoint: str, config: str, wait: int) -> str:
    """Send half of the requests to a new config for so many seconds; return the alarm on its errors."""
    alarm = f"errors-{config}"
    cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=dimensions(endpoint, config),
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )
    size = {"Type": "INSTANCE_COUNT", "Value": 1}
    routing = {"Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": wait}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 50}
    sagemaker.api.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName=sagemaker.config(config, instances=2),
        DeploymentConfig={
            "BlueGreenUpdatePolicy": policy,
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
        },
    )
    return alarm


def total(cloudwatch: Any, metric: str, endpoint: str, config: str) -> float:
    """The sum of a metric over all invocations of a config's fleet."""
    statistics = cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=dimensions(endpoint, config),
        StartTime=datetime.now(UTC) - timedelta(hours=1),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in statistics["Datapoints"]))


def test_a_canary_that_responds_takes_over_without_a_failed_request(
    sagemaker: Sagemaker, endpoint: str, before: str, client: Client, until: Until
) -> None:
    better = f"better-{RUN}"
    with Clients(sagemaker, endpoint) as clients:
        until(lambda: before in clients.served, "the old model to respond")
        update(sagemaker, client("cloudwatch"), endpoint, better, wait=150)
        described = sagemaker.await_endpoint(endpoint, "InService")
        assert described["EndpointConfigName"] == better, described.get("FailureReason")
        until(lambda: better in clients.served, "the new model to respond")
    assert clients.errors == []
    assert set(clients.served) == {before, better}
    count = clients.served.count(better)
    until(
        lambda: total(client("cloudwatch"), "Invocations", endpoint, better) == count,
        "every invocation to be measured",
    )


def test_a_canary_that_fails_is_rolled_back_by_its_alarm(
    sagemaker: Sagemaker, endpoint: str, before: str, client: Client, until: Until
) -> None:
    faulty = f"faulty-{RUN}"
    with Clients(sagemaker, endpoint) as clients:
        alarm = update(sagemaker, client("cloudwatch"), endpoint, faulty, wait=3600)
        described = sagemaker.await_endpoint(endpoint, "InService")
    failed = len(clients.errors)
    assert failed > 0
    assert {sagemaker.invoke(endpoint)["model"] for _ in range(10)} == {before}
    assert described["EndpointConfigName"] == before
    assert described["FailureReason"] == (
        f'The update was rolled back because of CloudWatch alarm "{alarm}" in state ALARM.'
    )
    assert set(clients.served) == {before}
    assert {error.response["Error"]["Code"] for error in clients.errors} == {"ModelError"}
    for metric in ("Invocations", "Invocation5XXErrors"):
        until(
            lambda metric=metric: total(client("cloudwatch"), metric, endpoint, faulty) == failed,
            "every error to be measured",
        )
