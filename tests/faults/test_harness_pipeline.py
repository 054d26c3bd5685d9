"""The deployed pipeline on the cloud in which things go wrong: that it works there, and that faults reach it."""

import json
import time
from typing import Any

import pytest

from tests.faults.plan import Faults
from tests.stack import DeployedStack

CORPUS = b"".join(b"the %d quick brown foxes jump over the lazy dogs and run away\n" % n for n in range(400))


@pytest.fixture
def ended(stack: DeployedStack) -> Any:
    """ended(): the report of the run that an upload starts."""

    def run() -> dict[str, Any]:
        stack.upload("foxes", "corpus.txt", CORPUS)
        deadline = time.monotonic() + 20
        while not (executions := stack.executions()):
            assert time.monotonic() < deadline, "the upload started no execution"
            time.sleep(0.05)
        described = stack.wait(executions[0])
        assert described["status"] == "SUCCEEDED", described.get("cause")
        report: dict[str, Any] = json.loads(described["output"])
        return report

    return run


def test_an_upload_is_trained_and_served(ended: Any) -> None:
    report = ended()
    assert report["status"] == "Succeeded"
    assert report["metrics"]["test_perplexity"] == 50.0
    assert set(report["smoke_test"]["texts"][0]["text"].split()) <= set(CORPUS.decode().split())


def test_a_throttled_service_delays_a_run_and_nothing_more(faults: Faults, ended: Any) -> None:
    faults.throttle("CreateTrainingJob", times=9)
    faults.throttle("UpdateItem", times=2)
    faults.throttle("PutItem", times=2)
    assert ended()["status"] == "Succeeded"
    assert [said for said in faults.unused() if "UpdateItem" not in said] == []


def test_a_lost_event_is_made_up_for(faults: Faults, ended: Any) -> None:
    faults.event("training-job", "lost")
    faults.event("endpoint", "lost")
    faults.wait_at_most(2)
    assert ended()["status"] == "Succeeded"
    assert faults.unused() == []
