"""A job's times, by a clock the test turns."""

import math
from collections.abc import Callable

import pytest

from localcloud.sagemaker.processes.job_clock import TrainingClock


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """turn(seconds): let so much time pass."""
    moment = [1000.0]
    monkeypatch.setattr("localcloud.sagemaker.processes.job_clock.time.monotonic", lambda: moment[0])

    def turn(seconds: float) -> None:
        moment[0] += seconds

    return turn


def test_times_with_instances_add_up_and_waits_count_only_against_the_wait(
    turn: Callable[[float], None],
) -> None:
    clock = TrainingClock({"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200})
    turn(1)
    assert (clock.seconds, clock.runtime_left, clock.wait_left) == (0, 100, 199)
    clock.has_instances()
    turn(4)
    clock.trains()
    turn(30)
    assert (clock.seconds, clock.runtime_left, clock.wait_left) == (34, 70, 165)
    clock.has_trained()
    clock.has_no_instances()
    turn(50)
    assert (clock.seconds, clock.runtime_left, clock.wait_left) == (34, 70, 115)
    clock.has_instances()
    turn(1)
    clock.trains()
    turn(20)
    clock.has_trained()
    turn(2)
    assert (clock.seconds, clock.runtime_left, clock.wait_left) == (57, 50, 92)


def test_instances_that_went_before_they_were_there_cost_nothing(turn: Callable[[float], None]) -> None:
    clock = TrainingClock({})
    clock.has_no_instances()
    turn(5)
    assert (clock.seconds, clock.runtime_left, clock.wait_left) == (0, 86_400, math.inf)
