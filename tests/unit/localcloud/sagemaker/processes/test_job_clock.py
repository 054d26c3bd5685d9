"""A job's times, by a clock that the test turns."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from localcloud.sagemaker.processes import job_clock
from localcloud.sagemaker.processes.job_clock import JobClock

Turn = Callable[[float], None]


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Turn:
    """turn(seconds): let time pass."""
    moment = [1000.0]
    monkeypatch.setattr(job_clock, "time", SimpleNamespace(monotonic=lambda: moment[0]))

    def turn(seconds: float) -> None:
        moment[0] += seconds

    return turn


def times(clock: JobClock) -> tuple[float, float, float]:
    return clock.seconds, clock.runtime_left, clock.wait_left


def test_times_with_instances_add_up_and_waits_count_only_against_the_wait(turn: Turn) -> None:
    clock = JobClock({"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200})
    turn(1)
    assert times(clock) == (0, 100, 199)
    clock.has_instances()
    turn(4)
    clock.trains()
    turn(30)
    assert times(clock) == (34, 70, 165)
    clock.has_trained()
    clock.has_no_instances()
    turn(50)
    assert times(clock) == (34, 70, 115)
    clock.has_instances()
    clock.trains()
    turn(20)
    clock.has_trained()
    assert times(clock) == (54, 50, 95)


def test_instances_lost_before_they_existed_cost_nothing(turn: Turn) -> None:
    clock = JobClock({})
    clock.has_no_instances()
    turn(5)
    assert times(clock) == (0, 86_400, math.inf)
