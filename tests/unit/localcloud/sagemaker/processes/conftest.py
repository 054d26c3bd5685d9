"""Training jobs whose S3 is a directory, and of which nothing may be left."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.processes.training_run import TrainingLaunch, TrainingRun
from tests.unit.localcloud.sagemaker.processes.helpers import (
    AWS,
    DirectoryStore,
    Witness,
    archive,
    processes_naming,
    training_request,
    without_torch,
)

Run = Callable[..., tuple[TrainingRun, Witness]]


@pytest.fixture
def objects(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "s3" / "bucket" / "data").mkdir(parents=True)
    (tmp_path / "s3" / "bucket" / "data" / "train").write_text("a corpus\n")
    return DirectoryStore(tmp_path / "s3")


@pytest.fixture
def run(tmp_path: Path, objects: DirectoryStore) -> Iterator[Run]:
    """Starts a job of the script given; afterwards, nothing of any job may be left."""
    runs: list[TrainingRun] = []

    def start(
        script: str, store: DirectoryStore = objects, *, name: str = "job", **changes: Any
    ) -> tuple[TrainingRun, Witness]:
        source = archive(tmp_path / "sourcedir.tar.gz", {"train.py": script})
        witness = Witness()
        launch = TrainingLaunch(
            name,
            f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
            training_request(source, **{"Environment": without_torch(tmp_path), **changes}),
            tmp_path / "jobs" / name,
            AWS,
        )
        job = TrainingRun(launch, witness, store=store)
        runs.append(job)
        job.start()
        return job, witness

    yield start
    for job in runs:
        job.close()
    assert [*tmp_path.glob("jobs/*")] == []
    assert processes_naming(str(tmp_path)) == []
