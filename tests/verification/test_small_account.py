"""Nothing in the pipeline breaks in a new AWS account, where ten functions may run at the same time."""

import concurrent.futures
from pathlib import Path

import pytest

from tests.faults.harness.client import Faults
from tests.faults.pipeline import KEPT, Pipeline
from tests.stack import TINY, deploy, running

pytestmark = pytest.mark.slow

# Pauses before retries are as long as on AWS: the functions are not faster here either.
ENVIRONMENT = {
    "LAMBDA_ACCOUNT_CONCURRENCY": "10",
    "SAGEMAKER_METRIC_DELAY_SECONDS": "0",
}
UPLOADS, DATASETS = 40, 4


@pytest.mark.timeout(3600)
def test_no_run_fails_though_functions_are_throttled(tmp_path: Path) -> None:
    with running(tmp_path / "cloud", ENVIRONMENT, "tests.faults.harness") as cloud:
        stack = deploy(cloud, {**TINY, "QuietSeconds": "2"})
        faults = Faults(cloud)
        faults.reset(KEPT)
        pipeline = Pipeline(stack, faults)
        with concurrent.futures.ThreadPoolExecutor(UPLOADS) as clients:
            for number in range(UPLOADS):
                clients.submit(pipeline.upload, f"dataset-{number % DATASETS}", number)
        pipeline.wait_for_executions(UPLOADS)
        pipeline.wait_for_rest()
        states = cloud.client("stepfunctions")
        throttled = sum(
            event.get("lambdaFunctionFailedEventDetails", event.get("taskFailedEventDetails", {})).get(
                "error"
            )
            == "Lambda.TooManyRequestsException"
            for execution in stack.executions()
            for page in states.get_paginator("get_execution_history").paginate(executionArn=execution)
            for event in page["events"]
        )
        print(f"{UPLOADS} uploads at once: {throttled} invocations were throttled")
        assert set(pipeline.statuses()) <= {"Succeeded", "Skipped", "Unchanged", "Rejected"}
        assert len(pipeline.jobs()) >= DATASETS
        pipeline.assert_one_run_at_a_time()
        pipeline.assert_sound()
