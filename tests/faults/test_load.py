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


@pytest.mark.timeout(600)
def test_a_hundred_uploads_over_ten_datasets_in_a_minute(world: World) -> None:
    began = time.monotonic()
    # Spread over less than the minute, for the last is to be over within it.
    step = 0.5 * SECONDS / UPLOADS
    with concurrent.futures.ThreadPoolExecutor(DATASETS) as clients:
        for number in range(UPLOADS):
            clients.submit(world.upload, f"dataset-{number % DATASETS}", number)
            time.sleep(step)
    took = time.monotonic() - began
    assert took < SECONDS
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
