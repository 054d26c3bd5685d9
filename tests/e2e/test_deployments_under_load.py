"""Requests during deployments and rollbacks: none of them fails."""

import json
import threading
import time
from collections import Counter

import pytest

from tests.stack import DeployedStack

DEPLOYMENTS, ROLLBACKS = 10, 2
CLIENTS = 4
PAUSE = 0.05


class Load:
    """Clients that send one request after the other to the endpoint, for the duration of a `with` block."""

    def __init__(self, stack: DeployedStack) -> None:
        self._stack = stack
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]
        self.responses: Counter[str] = Counter()
        """The number of responses by model."""
        self.failures: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, seed: int) -> None:
        runtime = self._stack.cloud.client("sagemaker-runtime")
        while not self._over.is_set():
            seed += CLIENTS
            try:
                response = runtime.invoke_endpoint(
                    EndpointName=self._stack.outputs["EndpointName"],
                    ContentType="application/json",
                    Body=json.dumps({"seed": seed, "words": 5}).encode(),
                )
                self.responses[json.loads(response["Body"].read())["model"]] += 1
            except Exception as error:
                self.failures.append(repr(error))
            time.sleep(PAUSE)


@pytest.fixture
def models(stack: DeployedStack, corpus: bytes) -> list[str]:
    """Two registered models. The newer one serves."""
    # The second execution starts when the first has read the upload.
    reports = [stack.report(stack.start_by_upload("load", "speeches.txt", corpus))]
    reports.append(stack.run({"dataset": "load", "tolerance": 10, "hyperparameters": {"seed": 2}}))
    assert [report["status"] for report in reports] == ["Succeeded", "Succeeded"]
    return [report["registered"]["model"] for report in reports]


# Fourteen executions, two of which train.
@pytest.mark.timeout(1800)
@pytest.mark.slow
def test_no_request_fails_during_ten_deployments_and_two_rollbacks(
    stack: DeployedStack, models: list[str]
) -> None:
    with Load(stack) as load:
        for number in range(DEPLOYMENTS):
            report = stack.run({"model": models[number % 2]})
            assert (report["status"], report["registered"]["model"]) == ("Succeeded", models[number % 2])
        for _ in range(ROLLBACKS):
            assert stack.run({"model": "previous"})["event"] == "rolled_back"
    print(f"{load.responses.total()} requests, {len(load.failures)} failed; by model {dict(load.responses)}")
    assert load.failures == []
    assert set(load.responses) == set(models)
