"""A training job runs AWS's toolkit on a user's script and ends as on SageMaker."""

import json
import os
import re
import signal
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.localcloud.sagemaker.processes.conftest import Run
from tests.unit.localcloud.sagemaker.processes.helpers import (
    DirectoryStore,
    archive,
    processes_naming,
    server_to_kill,
    training_request,
    wait_for,
    without_torch,
)

SLEEPER = "import os, time\nprint(f'pid {os.getpid()} {os.getppid()}')\ntime.sleep(600)\n"


def uploaded(objects: DirectoryStore) -> set[str]:
    return set(objects.keys("bucket", "runs/"))


def test_a_job_completes_with_its_artifacts_its_log_and_every_status(
    run: Run, objects: DirectoryStore, tmp_path: Path
) -> None:
    witness = run.finished(
        """
import json, os, sys, torch
seen = {"arguments": sys.argv[1:], "channel": os.listdir(os.environ["SM_CHANNEL_TRAINING"]),
        "hosts": os.environ["SM_HOSTS"], "key": os.environ["AWS_ACCESS_KEY_ID"], "python": sys.prefix,
        "mine": os.environ["MINE"], "torch": os.environ["SM_DLC_TORCH_VERSION"]}
json.dump(seen, open(os.environ["SM_MODEL_DIR"] + "/seen.json", "w"))
open(os.environ["SM_OUTPUT_DATA_DIR"] + "/curve", "w").write("down")
print("train_loss=5.12")
print("to stderr", file=sys.stderr)
""",
        Environment={"MINE": "yes"},
    )
    uri = "s3://bucket/runs/job/output/model.tar.gz"
    outcome = witness.outcome
    assert (outcome.status, outcome.secondary_status) == ("Completed", "Completed"), outcome.failure_reason
    assert (outcome.failure_reason, outcome.model_artifacts_uri) == (None, uri)
    assert [status for status, _ in witness.statuses] == ["Starting", "Downloading", "Training", "Uploading"]
    assert {"train_loss=5.12", "to stderr"} <= set(witness.lines)
    (stream,) = witness.streams
    assert re.fullmatch(r"job/algo-1-\d{13}", stream)
    assert uploaded(objects) == {"runs/job/output/model.tar.gz", "runs/job/output/output.tar.gz"}
    with tarfile.open(objects.root / "bucket/runs/job/output/model.tar.gz") as tar:
        file = tar.extractfile("seen.json")
        assert file
        assert json.load(file) == {
            "arguments": ["--batch-size", "20", "--tied", "False"],
            "channel": ["train"],
            "hosts": '["algo-1"]',
            "key": "test",
            "python": sys.prefix,
            "mine": "yes",
            "torch": torch.__version__,
        }
    with tarfile.open(objects.root / "bucket/runs/job/output/output.tar.gz") as tar:
        assert tar.getnames() == ["curve"]


def test_a_script_that_raises_fails_the_job_with_its_own_sentence(run: Run, objects: DirectoryStore) -> None:
    witness = run.finished(
        "import os\nopen(os.environ['SM_MODEL_DIR'] + '/half', 'w').write('x')\n"
        "raise ValueError('the corpus has 12 words; give at least 1,000')"
    )
    assert (witness.outcome.status, witness.outcome.model_artifacts_uri) == ("Failed", None)
    assert witness.reason.startswith("AlgorithmError: ExecuteUserScriptError: ExitCode 1")
    assert witness.reason.endswith("ValueError: the corpus has 12 words; give at least 1,000")
    assert uploaded(objects) == set()


@pytest.mark.parametrize(
    ("victim", "reason"),
    [
        (0, "ExitCode -9: the training script was killed by signal 9 (SIGKILL)"),
        (1, "the training toolkit was killed by signal 9 (SIGKILL)"),
    ],
    ids=["script", "toolkit"],
)
def test_a_killed_process_fails_the_job_and_names_the_signal(run: Run, victim: int, reason: str) -> None:
    _, witness = run(SLEEPER)
    wait_for(lambda: witness.pids() is not None, "the script to run")
    pids = witness.pids()
    assert pids
    os.kill(pids[victim], signal.SIGKILL)
    witness.wait()
    assert witness.outcome.status == "Failed"
    assert reason in witness.reason


def test_a_stopped_job_keeps_the_model_its_script_saves_on_sigterm(run: Run, objects: DirectoryStore) -> None:
    job, witness = run(
        "import os, signal, sys\n"
        "def save(*_):\n"
        "    open(os.environ['SM_MODEL_DIR'] + '/best', 'w').write('x')\n"
        "    print('saved')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n" + SLEEPER
    )
    wait_for(lambda: witness.pids() is not None, "the script to run")
    job.stop()
    job.stop()
    witness.wait()
    assert (witness.outcome.status, witness.outcome.secondary_status) == ("Stopped", "Stopped")
    assert witness.outcome.model_artifacts_uri == "s3://bucket/runs/job/output/model.tar.gz"
    assert witness.statuses[-1] == ("Stopping", "Stopping the training job")
    assert "saved" in witness.lines
    assert uploaded(objects) == {"runs/job/output/model.tar.gz"}


def test_a_job_that_runs_too_long_is_stopped(run: Run) -> None:
    witness = run.finished(SLEEPER, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (witness.outcome.status, witness.outcome.secondary_status) == ("Stopped", "MaxRuntimeExceeded")
    assert witness.statuses[-1] == ("Stopping", "Training job runtime exceeded MaxRuntimeInSeconds provided")


def test_a_closed_job_ends_without_a_report(run: Run) -> None:
    job, witness = run(SLEEPER)
    wait_for(lambda: "Training" in dict(witness.statuses), "the toolkit to run")
    job.close()
    assert witness.outcomes == []


@pytest.mark.parametrize("action", ["s3:ListBucket", "s3:GetObject"])
def test_a_role_that_may_not_read_the_data_fails_the_job(
    run: Run, objects: DirectoryStore, action: str
) -> None:
    witness = run.finished("", DirectoryStore(objects.root, denied=frozenset({action})))
    assert witness.outcome.status == "Failed"
    assert re.match(f"ClientError: Data download failed: AccessDenied: .*{action}", witness.reason)
    assert [status for status, _ in witness.statuses] == ["Starting", "Downloading"]


def test_a_role_that_may_not_write_artifacts_fails_the_job(run: Run, objects: DirectoryStore) -> None:
    witness = run.finished(
        "import os\nopen(os.environ['SM_MODEL_DIR'] + '/best', 'w').write('x')",
        DirectoryStore(objects.root, denied=frozenset({"s3:PutObject"})),
    )
    assert witness.outcome.status == "Failed"
    assert witness.reason.startswith("ClientError: Artifact upload failed: AccessDenied")
    assert "s3:PutObject" in witness.reason


def channel(**source: str) -> list[dict[str, Any]]:
    return [{"ChannelName": "training", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", **source}}}]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"InputDataConfig": channel(S3Uri="s3://bucket/nothing/")},
            'ClientError: Data download failed: No S3 objects found under S3 URL "s3://bucket/nothing/"',
        ),
        (
            {"InputDataConfig": channel(S3Uri="s3://nowhere/data/")},
            "ClientError: Data download failed: NoSuchBucket: The specified bucket does not exist",
        ),
        (
            {"InputDataConfig": channel(S3Uri="s3://bucket/data/manifest", S3DataType="ManifestFile")},
            "does not support data that is not an S3Prefix",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
            "more than one instance without torchrun; set the hyperparameter sagemaker_torch_",
        ),
        (
            {"CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/", "LocalPath": "/tmp/mine"}},
            "does not support checkpoints in /tmp/mine; leave CheckpointConfig.LocalPath out",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "nobody/knows", "TrainingInputMode": "File"}},
            "ClientError: Cannot pull algorithm container. Either the image does not exist",
        ),
    ],
    ids=["no data", "no bucket", "manifest", "two instances", "other path", "unknown image"],
)
def test_a_request_that_cannot_run_fails_with_the_reason(
    run: Run, changes: dict[str, Any], reason: str
) -> None:
    witness = run.finished("", **changes)
    assert witness.outcome.status == "Failed"
    assert reason in witness.reason


def test_a_job_dies_with_the_server_that_runs_it(tmp_path: Path, objects: DirectoryStore) -> None:
    source = archive(tmp_path / "sourcedir.tar.gz", {"train.py": SLEEPER})
    request = training_request(source, Environment=without_torch(tmp_path))
    with server_to_kill("training", tmp_path, request) as server:
        assert server.stdout
        assert any(line.startswith("pid ") for line in server.stdout)
        server.kill()
    wait_for(lambda: processes_naming(str(tmp_path)) == [], "the job to end")
