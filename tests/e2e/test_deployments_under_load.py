"""Requests that come while models are deployed and taken back: none of them fails."""

import json
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.stack import DeployedStack

DEPLOYMENTS, ROLLBACKS = 10, 2
CLIENTS = 4
PAUSE = 0.05


class Load:
    """Clients that ask the endpoint for text, one request after the other, until told to stop."""

    def __init__(self, stack: DeployedStack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        runtime = self._stack.cloud.client("sagemaker-runtime")
        seed = number
        while not self._stop.is_set():
            seed += CLIENTS
            try:
                answer = runtime.invoke_endpoint(
                    EndpointName=self._stack.outputs["EndpointName"],
                    ContentType="application/json",
                    Body=json.dumps({"seed": seed, "words": 5}).encode(),
                )
                self.answers[json.loads(answer["Body"].read())["model"]] += 1
            except Exception as error:
                self.failures.append(repr(error))
            time.sleep(PAUSE)


@pytest.fixture
def models(stack: DeployedStack, corpus: bytes) -> list[str]:
    """Two registered models, the newer of which serves."""
    before = set(stack.executions())
    stack.upload("load", "speeches.txt", corpus)
    deadline = time.monotonic() + 240
    while not (begun := set(stack.executions()) - before):
        assert time.monotonic() < deadline, "the upload started nothing"
        time.sleep(0.1)
    (first,) = begun
    # The second would else be the first to read what was uploaded.
    reports = [json.loads(stack.wait(first)["output"])]
    wish: dict[str, Any] = {"dataset": "load", "tolerance": 10, "hyperparameters": {"seed": 2}}
    reports.append(json.loads(stack.wait(stack.start(wish))["output"]))
    assert [report["status"] for report in reports] == ["Succeeded", "Succeeded"]
    return [report["registered"]["model"] for report in reports]


# Fourteen executions, two of which train.
@pytest.mark.timeout(1800)
def test_no_request_fails_during_ten_deployments_and_two_rollbacks(
    stack: DeployedStack, models: list[str]
) -> None:
    with Load(stack) as load:
        for number in range(DEPLOYMENTS):
            report = json.loads(stack.wait(stack.start({"model": models[number % 2]}))["output"])
            assert (report["status"], report["registered"]["model"]) == ("Succeeded", models[number % 2])
        for _ in range(ROLLBACKS):
            report = json.loads(stack.wait(stack.start({"model": "previous"}))["output"])
            assert report["event"] == "rolled_back"
    print(f"{load.answers.total()} requests, {len(load.failures)} failed; by model {dict(load.answers)}")
    assert load.failures == []
    assert set(load.answers) == set(models)
