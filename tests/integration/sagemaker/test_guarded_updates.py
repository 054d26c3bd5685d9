"""Canaries on the running local cloud: real fleets, real requests, and CloudWatch alarms on what they do.

Waits take a fiftieth of what they say.
"""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

RUN = uuid.uuid4().hex[:8]
GOOD, BETTER, FAULTY = f"good-{RUN}", f"better-{RUN}", f"faulty-{RUN}"
ALARM = f"errors-{RUN}"


@pytest.fixture(scope="module")
def endpoint(sagemaker: Any, client: Any) -> Iterator[str]:
    """An endpoint of two instances that answers as model good-*, and an alarm on its server errors."""
    name = f"guarded-{RUN}"
    config = sagemaker.config(GOOD, instances=2)
    sagemaker.api.create_endpoint(EndpointName=name, EndpointConfigName=config)
    client("cloudwatch").put_metric_alarm(
        AlarmName=ALARM,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )
    described = sagemaker.await_endpoint(name, "InService", "Failed")
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")
    yield name
    sagemaker.api.delete_endpoint(EndpointName=name)
    sagemaker.await_gone(name)
    client("cloudwatch").delete_alarms(AlarmNames=[ALARM])


class Asking:
    """Three clients that ask the endpoint without a pause, within `with`."""

    def __init__(self, sagemaker: Any, endpoint: str) -> None:
        self.served: list[str] = []
        self.errors: list[ClientError] = []
        self._sagemaker = sagemaker
        self._endpoint = endpoint
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]

    def __enter__(self) -> "Asking":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                self.served.append(self._sagemaker.ask(self._endpoint, seconds=0.02)["model"])
            except ClientError as error:
                self.errors.append(error)


def canary(wait: int) -> dict[str, Any]:
    """Half of the requests for so many seconds, with the alarm watched."""
    routing = {
        "Type": "CANARY",
        "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
        "WaitIntervalInSeconds": wait,
    }
    return {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 50},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": ALARM}]},
    }


def total(client: Any, metric: str, endpoint: str, **more: str) -> float:
    """The sum of a metric over all that the endpoint has answered."""
    names = {"EndpointName": endpoint, "VariantName": "AllTraffic", **more}
    statistics = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in names.items()],
        StartTime=datetime.now(UTC) - timedelta(hours=1),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in statistics["Datapoints"]))


def test_a_canary_that_answers_takes_over_without_a_failed_request(
    sagemaker: Any, endpoint: str, client: Any, until: Any
) -> None:
    better = sagemaker.config(BETTER, instances=2)
    with Asking(sagemaker, endpoint) as asking:
        sagemaker.api.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=better, DeploymentConfig=canary(wait=150)
        )
        until(lambda: BETTER in asking.served, "the canary to answer")
        shifting = len(asking.served)
        described = sagemaker.await_endpoint(endpoint, "InService")
        assert described["EndpointConfigName"] == BETTER, described.get("FailureReason")
        until(lambda: set(asking.served[-9:]) == {BETTER}, "the new model to answer alone")
    assert asking.errors == []
    assert set(asking.served[shifting:]) == {GOOD, BETTER}
    until(lambda: total(client, "Invocations", endpoint) == len(asking.served), "every answer to be measured")


def test_a_canary_that_fails_is_taken_back_by_the_alarm_it_sets_off(
    sagemaker: Any, endpoint: str, client: Any, until: Any
) -> None:
    faulty = sagemaker.config(FAULTY, instances=2)
    with Asking(sagemaker, endpoint) as asking:
        sagemaker.api.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=faulty, DeploymentConfig=canary(wait=3600)
        )
        described = sagemaker.await_endpoint(endpoint, "InService", "RollingBack")
        assert described["EndpointConfigName"] == BETTER
        described = sagemaker.await_endpoint(endpoint, "InService")
        failed = len(asking.errors)
        served = len(asking.served)
        until(lambda: len(asking.served) > served + 50, "the old model to go on answering")
        assert len(asking.errors) == failed
    assert described["FailureReason"] == (
        f'The update was rolled back because of CloudWatch alarm "{ALARM}" in state ALARM.'
    )
    assert described["EndpointConfigName"] == BETTER
    assert set(asking.served) == {BETTER}
    assert {error.response["Error"]["Code"] for error in asking.errors} == {"ModelError"}
    assert 0 < failed < served
    for metric in ("Invocations", "Invocation5XXErrors"):
        until(
            lambda metric=metric: total(client, metric, endpoint, EndpointConfigName=FAULTY) == failed,
            "every error to be measured",
        )
