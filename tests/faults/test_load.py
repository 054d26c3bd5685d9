"""Many uploads at once: no upload is lost, and no two runs work on one endpoint."""

import concurrent.futures
import time

import pytest

from tests.faults.pipeline import Pipeline

UPLOADS, DATASETS, SECONDS = 100, 10, 30


@pytest.mark.timeout(1800)
def test_a_hundred_uploads_of_ten_datasets(pipeline: Pipeline) -> None:
    with concurrent.futures.ThreadPoolExecutor(DATASETS) as clients:
        for number in range(UPLOADS):
            clients.submit(pipeline.upload, f"dataset-{number % DATASETS}", number)
            time.sleep(SECONDS / UPLOADS)
    pipeline.wait_for_executions(UPLOADS)
    pipeline.wait_for_rest()
    statuses, jobs = pipeline.statuses(), pipeline.jobs()
    print(f"{UPLOADS} uploads: {len(jobs)} models, {statuses.count('Skipped')} uploads joined another run")
    assert set(statuses) <= {"Succeeded", "Skipped", "Unchanged", "Rejected"}
    assert DATASETS <= len(jobs) < UPLOADS
    pipeline.assert_one_run_at_a_time()
    pipeline.assert_sound()
