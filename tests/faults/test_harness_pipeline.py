"""The deployed pipeline on the faulty cloud: that it works there, and that faults reach it."""

import json
import time
from typing import Any

from tests.faults.plan import Faults
from tests.stack import DeployedStack

CORPUS = b"".join(b"the %d quick brown foxes jump over the lazy dogs and run away\n" % n for n in range(400))


def report_of(stack: DeployedStack, corpus: bytes = CORPUS) -> dict[str, Any]:
    """The report of the run that an upload starts."""
    before = stack.executions()
    stack.upload("foxes", "corpus.txt", corpus)
    deadline = time.monotonic() + 240
    while stack.executions() == before:
        assert time.monotonic() < deadline, "the upload started no execution"
        time.sleep(0.05)
    described = stack.wait(stack.executions()[0])
    report: dict[str, Any] = json.loads(described["output"])
    return report


def test_an_upload_is_trained_and_served(stack: DeployedStack) -> None:
    report = report_of(stack)
    assert report["status"] == "Succeeded"
    assert report["metrics"]["test_perplexity"] == 50.0
    assert set(report["smoke_test"]["texts"][0]["text"].split()) <= set(CORPUS.decode().split())


def test_a_throttled_service_delays_a_run_and_nothing_more(stack: DeployedStack, faults: Faults) -> None:
    faults.throttle("CreateTrainingJob", times=9)
    faults.throttle("UpdateItem", times=2)
    assert report_of(stack)["status"] == "Succeeded"
    assert faults.unused() == []


def test_a_killed_function_spoils_no_later_run(stack: DeployedStack, faults: Faults) -> None:
    faults.kill("training", "CreateTrainingJob", when="after")
    report_of(stack)
    assert faults.unused() == []
    assert report_of(stack, CORPUS * 2)["status"] == "Succeeded"


def test_a_lost_event_is_made_up_for(stack: DeployedStack, faults: Faults) -> None:
    faults.event("training-job", "lost")
    faults.event("endpoint", "lost")
    faults.wait_at_most(2)
    assert report_of(stack)["status"] == "Succeeded"
    assert faults.unused() == []
