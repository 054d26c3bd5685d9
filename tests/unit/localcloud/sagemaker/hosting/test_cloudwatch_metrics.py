"""CloudWatch's metrics of an endpoint's invocations."""

import threading
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.sagemaker.processes.instance import InvocationResult
from tests.unit.localcloud.conftest import DEADLINE, Cloud, eventually

VARIANT = {"EndpointName": "Lexline", "VariantName": "AllTraffic"}


def measured(cloud: Cloud, metric: str, **dimensions: str) -> Counter[float]:
    """How often each value of a metric was seen, with the variant's dimensions and these."""
    values: Counter[float] = Counter()
    for namespace, measurement in cloud.host.metrics:
        assert namespace == "AWS/SageMaker"
        if measurement.metric == metric and measurement.dimensions == VARIANT | dimensions:
            values.update(measurement.values)
    return values


def invoke(cloud: Cloud) -> None:
    cloud.runtime.invoke_endpoint(EndpointName="lexline", Body=b"hi")


@pytest.fixture
def endpoint(cloud: Cloud) -> Any:
    """An endpoint of four instances, with configuration `first`."""
    cloud.config("first", InitialInstanceCount=4)
    cloud.sagemaker.create_endpoint(EndpointName="Lexline", EndpointConfigName="first")
    cloud.await_endpoint("InService", "Lexline")
    return cloud


def test_each_invocation_is_measured(endpoint: Cloud) -> None:
    for _ in range(3):
        invoke(endpoint)
    eventually(lambda: measured(endpoint, "Invocations") == {1.0: 3})
    assert measured(endpoint, "InvocationsPerInstance") == {0.25: 3}
    assert measured(endpoint, "Invocation4XXErrors") == {0.0: 3}
    assert measured(endpoint, "Invocation5XXErrors") == {0.0: 3}
    assert measured(endpoint, "Invocations", EndpointConfigName="first") == {1.0: 3}
    units = {measurement.metric: measurement.unit for _, measurement in endpoint.host.metrics}
    assert units.pop("ModelLatency") == units.pop("OverheadLatency") == "Microseconds"
    assert set(units.values()) == {"None"}


def test_latency_is_in_microseconds(endpoint: Cloud) -> None:
    endpoint.fleets.script.delay = 0.05
    invoke(endpoint)
    eventually(lambda: bool(measured(endpoint, "ModelLatency")))
    (latency,) = measured(endpoint, "ModelLatency")
    (overhead,) = measured(endpoint, "OverheadLatency")
    assert latency >= 50_000
    assert overhead > 0


@pytest.mark.parametrize(
    ("status", "metric"),
    [
        (499, "Invocation4XXErrors"),
        (500, "Invocation5XXErrors"),
        (0, "Invocation5XXErrors"),
    ],
)
def test_a_models_error_is_measured(endpoint: Cloud, status: int, metric: str) -> None:
    endpoint.fleets.script.result = InvocationResult(status, "text/plain", b"no")
    with pytest.raises(ClientError):
        invoke(endpoint)
    eventually(lambda: measured(endpoint, "Invocations") == {1.0: 1})
    for name in ("Invocation4XXErrors", "Invocation5XXErrors"):
        assert measured(endpoint, name) == {float(name == metric): 1}


def test_a_request_that_no_model_received_is_not_measured(endpoint: Cloud) -> None:
    with pytest.raises(ClientError):
        endpoint.runtime.invoke_endpoint(EndpointName="nobody", Body=b"hi")
    with pytest.raises(ClientError):
        endpoint.runtime.invoke_endpoint(EndpointName="lexline", Body=b"hi", TargetVariant="nobody")
    invoke(endpoint)
    eventually(lambda: bool(measured(endpoint, "Invocations")))
    assert measured(endpoint, "Invocations") == {1.0: 1}


def test_old_and_new_fleet_are_measured_by_their_config(endpoint: Cloud) -> None:
    invoke(endpoint)
    endpoint.config("second", InitialInstanceCount=1)
    endpoint.sagemaker.update_endpoint(EndpointName="Lexline", EndpointConfigName="second")
    endpoint.await_endpoint("InService", "Lexline")
    invoke(endpoint)
    eventually(lambda: measured(endpoint, "Invocations") == {1.0: 2})
    assert measured(endpoint, "Invocations", EndpointConfigName="first") == {1.0: 1}
    assert measured(endpoint, "InvocationsPerInstance", EndpointConfigName="second") == {1.0: 1}


def test_a_serverless_variant_has_no_instances_to_measure(cloud: Cloud) -> None:
    cloud.model("m")
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 5}
    cloud.sagemaker.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": "m", "ServerlessConfig": serverless}],
    )
    cloud.sagemaker.create_endpoint(EndpointName="Lexline", EndpointConfigName="c")
    cloud.await_endpoint("InService", "Lexline")
    invoke(cloud)
    eventually(lambda: measured(cloud, "Invocations") == {1.0: 1})
    assert not measured(cloud, "InvocationsPerInstance")


def test_a_failure_of_cloudwatch_loses_only_its_own_metrics(
    endpoint: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def fail(*_: Any) -> None:
        failed.set()
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(endpoint.host, "put_metrics", fail)
        invoke(endpoint)
        assert failed.wait(DEADLINE)
    invoke(endpoint)
    eventually(lambda: measured(endpoint, "Invocations") == {1.0: 1})


def test_closing_sends_the_last_metrics(endpoint: Cloud) -> None:
    for _ in range(5):
        invoke(endpoint)
    endpoint.service.close()
    assert measured(endpoint, "Invocations") == {1.0: 5}
