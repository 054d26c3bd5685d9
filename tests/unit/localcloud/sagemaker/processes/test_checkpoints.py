"""Checkpoints are downloaded before a job trains, and uploaded while it trains and when it ends."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.processes.artifacts import StoreError
from localcloud.sagemaker.processes.checkpoints import Checkpoints
from tests.unit.localcloud.sagemaker.processes.conftest import Run
from tests.unit.localcloud.sagemaker.processes.helpers import DirectoryStore, wait_for

SYNCHRONIZED = {"S3Uri": "s3://bucket/checkpoints/job", "LocalPath": "/opt/ml/checkpoints"}
CONFIG: dict[str, Any] = {"CheckpointConfig": SYNCHRONIZED}
PREFIX = "checkpoints/job/"

STEP = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "checkpoints"
step = int((folder / "step").read_text()) if (folder / "step").exists() else 0
def save(*_):
    (folder / "step.tmp").write_text(str(step + 1))
    (folder / "step.tmp").rename(folder / "step")
    sys.exit(0)
"""


def nothing() -> None:
    pass


Make = Callable[..., Checkpoints]


@pytest.fixture
def checkpoints(tmp_path: Path, objects: DirectoryStore) -> Iterator[Make]:
    """A folder's checkpoints, downloaded; by default nothing is uploaded before the end."""
    made: list[Checkpoints] = []

    def make(host: str = "algo-1", store: DirectoryStore = objects, every: float = 600) -> Checkpoints:
        directory = tmp_path / host
        directory.mkdir()
        made.append(Checkpoints(store, f"s3://bucket/{PREFIX}", directory / "checkpoints", every))
        made[-1].download(nothing)
        return made[-1]

    yield make
    for each in made:
        each.abandon()


def stored(objects: DirectoryStore) -> dict[str, str]:
    """The text of each object under the prefix."""
    found = {}
    for key in objects.keys("bucket", PREFIX):
        with contextlib.suppress(FileNotFoundError):  # deleted in the meantime
            found[key.removeprefix(PREFIX)] = (objects.root / "bucket" / key).read_text()
    return found


def test_a_job_continues_from_its_last_checkpoint(run: Run, objects: DirectoryStore) -> None:
    for step in ("1", "2"):
        witness = run.finished(STEP + "save()", **CONFIG)
        assert witness.outcome.status == "Completed", witness.outcome.failure_reason
        assert stored(objects) == {"step": step}


def test_checkpoints_of_a_stopped_job_are_kept(run: Run, objects: DirectoryStore) -> None:
    job, witness = run(STEP + "signal.signal(signal.SIGTERM, save)\nprint('on')\ntime.sleep(600)", **CONFIG)
    wait_for(lambda: "on" in witness.lines, "the script to run")
    job.stop()
    witness.wait()
    assert witness.outcome.status == "Stopped"
    assert stored(objects) == {"step": "1"}


def test_checkpoints_of_a_failed_job_are_kept(run: Run, objects: DirectoryStore) -> None:
    script = STEP + "(folder / 'step').write_text('7')\nraise ValueError('no more')"
    witness = run.finished(script, **CONFIG)
    assert witness.reason.endswith("ValueError: no more")
    assert stored(objects) == {"step": "7"}


def test_a_job_without_a_checkpoint_config_has_no_folder_for_them(run: Run) -> None:
    witness = run.finished("import os\nprint(os.listdir(os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml')))")
    (listing,) = [line for line in witness.lines if line.startswith("[")]
    assert "checkpoints" not in listing


@pytest.mark.parametrize(
    ("action", "change", "reason"),
    [
        ("s3:ListBucket", {"InputDataConfig": []}, "ClientError: Checkpoint download failed: AccessDenied"),
        ("s3:PutObject", {}, "ClientError: Checkpoint upload failed: AccessDenied"),
    ],
)
def test_a_role_that_may_not_read_or_write_checkpoints_fails_the_job(
    run: Run, objects: DirectoryStore, action: str, change: dict[str, Any], reason: str
) -> None:
    store = DirectoryStore(objects.root, denied=frozenset({action}))
    witness = run.finished(STEP + "save()", store, **CONFIG, **change)
    assert witness.outcome.status == "Failed"
    assert witness.reason.startswith(reason)


def test_s3_follows_the_folder_while_the_job_runs(
    checkpoints: Make, objects: DirectoryStore, tmp_path: Path
) -> None:
    folder = tmp_path / "algo-1" / "checkpoints"
    checkpoints(every=0.02).follow()
    (folder / "best").mkdir()
    (folder / "best" / "weights").write_text("1")
    wait_for(lambda: stored(objects) == {"best/weights": "1"}, "the first checkpoint")
    (folder / "best" / "weights").write_text("22")
    wait_for(lambda: stored(objects) == {"best/weights": "22"}, "the changed checkpoint")
    (folder / "best" / "weights").unlink()
    wait_for(lambda: stored(objects) == {}, "the checkpoint to be gone")


def test_a_file_with_a_temporary_name_is_not_uploaded(
    checkpoints: Make, objects: DirectoryStore, tmp_path: Path
) -> None:
    host = checkpoints()
    for name in (".hidden", "a.tmp", "a.part", "a.partial", "a~", "whole"):
        (tmp_path / "algo-1" / "checkpoints" / name).write_text("x")
    host.finish()
    assert stored(objects).keys() == {"whole"}


def test_older_files_are_uploaded_first(
    checkpoints: Make, tmp_path: Path, objects: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = checkpoints()
    folder = tmp_path / "algo-1" / "checkpoints"
    for age, name in enumerate(["a-newest", "b-middle", "c-oldest"]):
        (folder / name).write_text("x")
        os.utime(folder / name, (1_000_000 - age, 1_000_000 - age))
    sent: list[str] = []
    monkeypatch.setattr(objects, "upload", lambda path, bucket, key: sent.append(path.name))
    host.finish()
    assert sent == ["c-oldest", "b-middle", "a-newest"]


def test_hosts_that_only_read_leave_the_shared_checkpoints_alone(
    checkpoints: Make, objects: DirectoryStore, tmp_path: Path
) -> None:
    (objects.root / "bucket" / PREFIX).mkdir(parents=True)
    (objects.root / "bucket" / PREFIX / "step").write_text("1")
    writer, reader = checkpoints("algo-1"), checkpoints("algo-2")
    (tmp_path / "algo-1" / "checkpoints" / "step").write_text("23")
    assert (tmp_path / "algo-2" / "checkpoints" / "step").read_text() == "1"
    writer.finish()
    reader.finish()
    assert stored(objects) == {"step": "23"}


def test_a_failed_upload_is_retried(checkpoints: Make, objects: DirectoryStore, tmp_path: Path) -> None:
    denied = DirectoryStore(objects.root, denied=frozenset({"s3:PutObject"}))
    host = checkpoints(store=denied, every=0.02)
    (tmp_path / "algo-1" / "checkpoints" / "step").write_text("1")
    host.follow()
    with pytest.raises(StoreError, match="s3:PutObject"):
        host.finish()
    denied.denied = frozenset()
    host.finish()
    assert stored(objects) == {"step": "1"}


def test_checkpoints_of_a_job_with_a_longer_name_are_ignored(
    checkpoints: Make, objects: DirectoryStore, tmp_path: Path
) -> None:
    other = objects.root / "bucket" / "checkpoints" / "job-2"
    other.mkdir(parents=True)
    (other / "step").write_text("9")
    checkpoints()
    assert [*(tmp_path / "algo-1" / "checkpoints").iterdir()] == []
