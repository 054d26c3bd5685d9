"""Many uploads at once: none is lost, and there are never two runs on one endpoint."""

import concurrent.futures
import time

import pytest

from tests.faults.plan import Faults
from tests.faults.world import World
from tests.stack import DeployedStack

UPLOADS, DATASETS, SECONDS = 100, 10, 60


@pytest.fixture
def world(stack: DeployedStack, faults: Faults) -> World:
    return World(stack, faults)


@pytest.mark.timeout(1800)
def test_a_hundred_uploads_over_ten_datasets_in_a_minute(world: World) -> None:
    began = time.monotonic()
    # A busy machine takes longer than the minute, which changes nothing in what is promised.
    pause = 0.5 * SECONDS / UPLOADS
    with concurrent.futures.ThreadPoolExecutor(DATASETS) as clients:
        for number in range(UPLOADS):
            clients.submit(world.upload, f"dataset-{number % DATASETS}", number)
            time.sleep(pause)
    took = time.monotonic() - began
    world.until(lambda: len(world.executions()) >= UPLOADS, "an execution for each upload")
    world.rest(seconds=240)
    outcomes = world.outcomes()
    trained = world.trained()
    joined = outcomes.count("Skipped")
    print(f"{UPLOADS} uploads in {took:.0f} s: {len(trained)} models trained, {joined} joined a run")
    assert set(outcomes) <= {"Succeeded", "Skipped", "Unchanged", "Rejected"}
    assert DATASETS <= len(trained) < UPLOADS
    world.assert_one_at_a_time()
    world.assert_sound()
