"""A job of several hosts runs several toolkits on this machine, which start, fail and end together."""

import json
import os
import re
import tarfile
from typing import Any

import pytest

from localcloud.sagemaker.processes import training_hosts
from tests.unit.localcloud.sagemaker.processes.conftest import Run
from tests.unit.localcloud.sagemaker.processes.helpers import (
    DEADLINE,
    DirectoryStore,
    training_request,
    wait_for,
)


def two_hosts(run: Run) -> dict[str, Any]:
    """The members of a request for two hosts that torchrun connects."""
    hyperparameters = {
        **training_request(run.directory / "sourcedir.tar.gz")["HyperParameters"],
        "sagemaker_torch_distributed_enabled": "true",
    }
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    return {"HyperParameters": hyperparameters, "ResourceConfig": resources}


def model(objects: DirectoryStore) -> dict[str, str]:
    """The files of a job's model."""
    with tarfile.open(objects.root / "bucket/runs/job/output/model.tar.gz") as tar:
        read = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read().decode() for name, file in read.items() if file}


REPORT = """
import json, os
from pathlib import Path
seen = {name: os.environ.get(name) for name in (
    "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SM_CURRENT_HOST", "SM_HOSTS", "OMP_NUM_THREADS")}
seen["text"] = (Path(os.environ["SM_CHANNEL_TRAINING"]) / "train").read_text()
folder = Path(os.environ["SM_MODEL_DIR"])
(folder / ("seen-" + os.environ["SM_CURRENT_HOST"])).write_text(json.dumps(seen))
(folder / "weights").write_text(os.environ["SM_CURRENT_HOST"])
print("here is " + os.environ["SM_CURRENT_HOST"])
"""


def test_every_host_has_the_data_a_rank_a_log_and_a_part_in_the_model(
    run: Run, objects: DirectoryStore
) -> None:
    witness = run.finished(REPORT, **two_hosts(run))
    assert witness.outcome.status == "Completed", witness.outcome.failure_reason
    files = model(objects)
    assert files["weights"] == "algo-1"
    seen = [json.loads(files[f"seen-algo-{host}"]) for host in (1, 2)]
    assert [each["SM_CURRENT_HOST"] for each in seen] == ["algo-1", "algo-2"]
    assert [each["RANK"] for each in seen] == ["0", "1"]
    assert {each["MASTER_ADDR"] for each in seen} == {"127.0.0.1"}
    (port,) = {each["MASTER_PORT"] for each in seen}
    assert port != "7777"
    for each in seen:
        assert each["WORLD_SIZE"] == "2"
        assert json.loads(each["SM_HOSTS"]) == ["algo-1", "algo-2"]
        assert each["text"] == "a corpus\n"
        assert int(each["OMP_NUM_THREADS"]) == max(1, (os.cpu_count() or 1) // 2)
    assert {"here is algo-1", "here is algo-2"} <= set(witness.lines)
    streams = sorted(re.sub(r"\d{13}$", "", stream) for stream in witness.streams)
    assert streams == ["job/algo-1-", "job/algo-2-"]


def test_a_host_that_fails_ends_the_others_and_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_hosts, "SETTLING", 0.2)
    witness = run.finished(
        "import os, time\n"
        "if os.environ['RANK'] == '1':\n"
        "    raise ValueError('the corpus is all about cheese')\n"
        "time.sleep(600)",
        **two_hosts(run),
    )
    assert witness.outcome.status == "Failed"
    assert witness.reason.endswith("ValueError: the corpus is all about cheese")


def test_a_host_that_only_lost_another_is_not_the_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_hosts, "SETTLING", DEADLINE)
    witness = run.finished(
        "import os, time\n"
        "if os.environ['RANK'] == '0':\n"
        "    raise RuntimeError('[gloo/pair.cc:42] Connection closed by peer [127.0.0.1]:60410')\n"
        "time.sleep(1)\n"
        "raise ValueError('the corpus is all about cheese')",
        **two_hosts(run),
    )
    assert witness.reason.endswith("ValueError: the corpus is all about cheese")


def test_every_host_of_a_stopped_job_can_save(run: Run, objects: DirectoryStore) -> None:
    job, witness = run(
        "import os, signal, sys, time\n"
        "def save(*_):\n"
        "    open(os.environ['SM_MODEL_DIR'] + '/saved-' + os.environ['RANK'], 'w').write('x')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\nprint('training')\ntime.sleep(600)",
        **two_hosts(run),
    )
    wait_for(lambda: witness.lines.count("training") == 2, "both hosts to train")
    job.stop()
    witness.wait()
    assert (witness.outcome.status, witness.outcome.failure_reason) == ("Stopped", None)
    assert model(objects).keys() == {"saved-0", "saved-1"}


def test_data_sharded_over_hosts_is_refused(run: Run) -> None:
    sharded = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data/"}
    sharded["S3DataDistributionType"] = "ShardedByS3Key"
    channels = [{"ChannelName": "training", "DataSource": {"S3DataSource": sharded}}]
    witness = run.finished("", InputDataConfig=channels, **two_hosts(run))
    assert "sharded over instances" in witness.reason
