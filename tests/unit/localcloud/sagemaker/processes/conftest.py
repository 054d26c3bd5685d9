"""Training jobs with a directory instead of S3."""

from collections.abc import Iterator
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


class Run:
    """Starts training jobs of a script."""

    def __init__(self, directory: Path, objects: DirectoryStore) -> None:
        self.directory = directory
        self.objects = objects
        self.jobs: list[TrainingRun] = []

    def __call__(
        self, script: str, store: DirectoryStore | None = None, *, name: str = "job", **changes: Any
    ) -> tuple[TrainingRun, Witness]:
        """Start a job; `changes` replace members of its request."""
        source = archive(self.directory / "sourcedir.tar.gz", {"train.py": script})
        witness = Witness()
        launch = TrainingLaunch(
            name,
            f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
            training_request(source, **{"Environment": without_torch(self.directory), **changes}),
            self.directory / "jobs" / name,
            self.directory / "jobs",
            AWS,
        )
        self.jobs.append(TrainingRun(launch, witness, store=store or self.objects))
        self.jobs[-1].start()
        return self.jobs[-1], witness

    def finished(self, script: str, *arguments: Any, **changes: Any) -> Witness:
        """Start a job and wait for its end."""
        _, witness = self(script, *arguments, **changes)
        return witness.wait()


@pytest.fixture
def objects(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "s3" / "bucket" / "data").mkdir(parents=True)
    (tmp_path / "s3" / "bucket" / "data" / "train").write_text("a corpus\n")
    return DirectoryStore(tmp_path / "s3")


@pytest.fixture
def run(tmp_path: Path, objects: DirectoryStore) -> Iterator[Run]:
    """Starts jobs; afterwards, nothing of any job may be left."""
    run = Run(tmp_path, objects)
    yield run
    for job in run.jobs:
        job.close()
    assert [*tmp_path.glob("jobs/*")] == []
    assert processes_naming(str(tmp_path)) == []
