"""A managed spot job loses its instances and continues from its files in S3, within its time limits."""

import json
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.localcloud.sagemaker.processes.conftest import Run
from tests.unit.localcloud.sagemaker.processes.helpers import DEADLINE, DirectoryStore, Witness, wait_for

SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/job"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 300},
}

COUNT = """
import json, os, pathlib, signal, sys, time
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
folder = base / "checkpoints"
count = int((folder / "count").read_text()) if (folder / "count").exists() else 0
def save(*_):
    (folder / "count.tmp").write_text(str(count + 1))
    (folder / "count.tmp").rename(folder / "count")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
here = sorted(path.name for path in base.iterdir())
(base / "leftover").write_text("x")
print("attempt " + json.dumps({"count": count, "here": here}))
if count < 2:
    time.sleep(600)
(base / "model" / "count").write_text(str(count))
"""


class Slow(DirectoryStore):
    """Downloads nothing before `go_on` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go_on = threading.Event()

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        assert self.go_on.wait(DEADLINE), "the test never let it go on"
        super().download(bucket, key, path, still_wanted)


def attempts(witness: Witness) -> list[Any]:
    """What each attempt of the script found at its start."""
    said = [line.removeprefix("attempt ") for line in witness.lines if line.startswith("attempt ")]
    return [json.loads(line) for line in said]


def await_attempt(witness: Witness, number: int) -> None:
    wait_for(lambda: len(attempts(witness)) == number, f"attempt {number} of the script")


def statuses(witness: Witness) -> list[str]:
    return [status for status, _ in witness.statuses]


def test_an_interrupted_job_continues_from_its_checkpoint(run: Run, objects: DirectoryStore) -> None:
    job, witness = run(COUNT, **SPOT)
    for number in (1, 2):
        await_attempt(witness, number)
        job.interrupt()
    witness.wait()
    assert witness.outcome.status == "Completed", witness.outcome.failure_reason
    assert [attempt["count"] for attempt in attempts(witness)] == [0, 1, 2]
    assert all("leftover" not in attempt["here"] for attempt in attempts(witness))
    assert statuses(witness) == [
        *("Starting", "Downloading", "Training", "Interrupted") * 2,
        *("Starting", "Downloading", "Training", "Uploading"),
    ]
    assert len(witness.streams) == 3
    with tarfile.open(objects.root / "bucket/runs/job/output/model.tar.gz") as tar:
        file = tar.extractfile("count")
        assert file
        assert file.read() == b"2"


def test_without_checkpoints_an_interrupted_job_starts_again(run: Run) -> None:
    script = (
        "import os, pathlib, time\nmodel = pathlib.Path(os.environ['SM_MODEL_DIR'])\n"
        "print(f'attempt {len(list(model.iterdir()))}')\n(model / 'half').write_text('x')\ntime.sleep(600)\n"
    )
    job, witness = run(script, **{**SPOT, "CheckpointConfig": {"S3Uri": "s3://bucket/elsewhere"}})
    await_attempt(witness, 1)
    job.interrupt()
    await_attempt(witness, 2)
    assert attempts(witness) == [0, 0]


def test_the_wait_for_instances_is_no_training_time(run: Run) -> None:
    began = time.monotonic()
    job, witness = run(COUNT.replace("count < 2", "count < 1"), **SPOT)
    await_attempt(witness, 1)
    job.interrupt(pause=2.0)
    witness.wait()
    assert witness.outcome.status == "Completed", witness.outcome.failure_reason
    assert witness.outcome.training_seconds <= time.monotonic() - began - 2 + 0.5  # rounded


def test_a_job_that_gets_no_instances_in_time_is_stopped(run: Run, objects: DirectoryStore) -> None:
    condition = {"MaxRuntimeInSeconds": 2, "MaxWaitTimeInSeconds": 2}
    store = Slow(objects.root)
    job, witness = run(COUNT, store, **{**SPOT, "StoppingCondition": condition})
    wait_for(lambda: "Downloading" in statuses(witness) or bool(witness.outcomes), "the download")
    job.interrupt(pause=600)
    store.go_on.set()
    witness.wait()
    outcome = witness.outcome
    assert (outcome.status, outcome.secondary_status) == ("Stopped", "MaxWaitTimeExceeded")
    assert (outcome.failure_reason, outcome.model_artifacts_uri) == (None, None)
    message = "Training job wait time exceeded MaxWaitTimeInSeconds provided"
    assert witness.statuses[-1] == ("Stopping", message)


def test_a_job_that_trains_for_too_long_after_it_was_created_is_stopped(run: Run) -> None:
    condition = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
    witness = run.finished("import time\ntime.sleep(600)", **{**SPOT, "StoppingCondition": condition})
    assert witness.outcome.secondary_status == "MaxWaitTimeExceeded"


def test_a_job_that_waits_for_instances_can_be_stopped(run: Run) -> None:
    job, witness = run(COUNT, **SPOT)
    await_attempt(witness, 1)
    job.interrupt(pause=600)
    wait_for(lambda: "Interrupted" in statuses(witness), "the instances to be gone")
    job.interrupt()
    job.stop()
    witness.wait()
    assert (witness.outcome.status, witness.outcome.secondary_status) == ("Stopped", "Stopped")
    assert len(attempts(witness)) == 1


def test_a_job_can_be_interrupted_before_its_script_runs(run: Run, objects: DirectoryStore) -> None:
    store = Slow(objects.root)
    job, witness = run("print('attempt 1')", store, **SPOT)
    wait_for(lambda: "Downloading" in statuses(witness), "the download")
    job.interrupt()
    store.go_on.set()
    witness.wait()
    assert witness.outcome.status == "Completed", witness.outcome.failure_reason
    assert statuses(witness) == [
        *("Starting", "Downloading", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading"),
    ]


def test_a_failed_script_is_not_retried(run: Run) -> None:
    job, witness = run("raise ValueError('the corpus is empty')", **SPOT)
    witness.wait()
    job.interrupt()
    assert witness.outcome.status == "Failed"
    assert statuses(witness) == ["Starting", "Downloading", "Training"]


def test_a_job_on_demand_is_never_interrupted(run: Run) -> None:
    job, witness = run("")
    with pytest.raises(ValueError, match="job is not a managed spot training job"):
        job.interrupt()
    witness.wait()
    assert witness.outcome.status == "Completed"
