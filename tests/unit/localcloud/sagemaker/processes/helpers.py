"""Helpers for tests of jobs and fleets: an object store in a directory, archives, waits, recorders."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from localcloud.sagemaker.processes.artifacts import StoreError
from localcloud.sagemaker.processes.training_run import TrainingOutcome

AWS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody listens there: nothing may depend on a real S3
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}
DEADLINE = 240.0
"""Seconds that a wait may take before its test fails."""


class DirectoryStore:
    """Buckets as directories. As S3, it refuses missing buckets and keys, and denied actions."""

    def __init__(self, root: Path, denied: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.denied = denied

    def _bucket(self, action: str, bucket: str) -> Path:
        if action in self.denied:
            raise StoreError(f"AccessDenied: not authorized to perform: {action} on resource: {bucket}")
        if not (self.root / bucket).is_dir():
            raise StoreError("NoSuchBucket: The specified bucket does not exist")
        return self.root / bucket

    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        directory = self._bucket("s3:ListBucket", bucket)
        found = (str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
        yield from sorted(key for key in found if key.startswith(prefix))

    def download(self, bucket: str, key: str, path: Path, still_wanted: Callable[[], None]) -> None:
        source = self._bucket("s3:GetObject", bucket) / key
        if not source.is_file():
            raise StoreError("NoSuchKey: The specified key does not exist.")
        still_wanted()
        shutil.copyfile(source, path)

    def upload(self, path: Path, bucket: str, key: str) -> None:
        target = self._bucket("s3:PutObject", bucket) / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)

    def delete(self, bucket: str, key: str) -> None:
        (self._bucket("s3:DeleteObject", bucket) / key).unlink(missing_ok=True)


REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"


class Witness:
    """Records what a job reports."""

    def __init__(self) -> None:
        self.statuses: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self.streams: set[str] = set()
        self.outcomes: list[TrainingOutcome] = []

    def secondary_status(self, status: str, message: str) -> None:
        self.statuses.append((status, message))

    def log(self, stream: str, timestamp_ms: int, line: str) -> None:
        assert timestamp_ms > 1_600_000_000_000
        assert line
        self.streams.add(stream)
        self.lines.append(line)

    def finished(self, outcome: TrainingOutcome) -> None:
        self.outcomes.append(outcome)

    @property
    def outcome(self) -> TrainingOutcome:
        (outcome,) = self.outcomes
        return outcome

    @property
    def reason(self) -> str:
        return self.outcome.failure_reason or ""

    def wait(self) -> "Witness":
        """Wait for the end of the job."""
        wait_for(lambda: self.outcomes != [], "the job to end")
        return self

    def pids(self) -> tuple[int, int] | None:
        """The process ids of the script and the toolkit, once the script has printed them."""
        for line in self.lines:
            if match := re.fullmatch(r"pid (\d+) (\d+)", line):
                return int(match[1]), int(match[2])
        return None


def training_request(script: Path, **changes: Any) -> dict[str, Any]:
    """CreateTrainingJob's parameters for the script in an archive."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data/"}
    return {
        "AlgorithmSpecification": {
            "TrainingImage": f"{REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker",
            "TrainingInputMode": "File",
        },
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "HyperParameters": {
            "batch-size": "20",
            "tied": "false",
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": str(script),
            "sagemaker_region": "us-east-1",
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": "job",
        },
        "InputDataConfig": [{"ChannelName": "training", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/runs"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        **changes,
    }


_STAND_IN = {
    "torch/__init__.py": "__version__ = 'imported'",
    "torch/version.py": "__version__ = 'none'",
    "torch/distributed/__init__.py": "",
    "torch/distributed/elastic/rendezvous/static_tcp_rendezvous.py": "TCPStore = object",
    "torch/distributed/run.py": """
import argparse, os, sys

def parse_args(arguments):
    parser = argparse.ArgumentParser()
    for name in ("nnodes", "nproc_per_node", "node_rank", "master_port"):
        parser.add_argument("--" + name, type=int, default=0)
    parser.add_argument("--master_addr")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)

def run(options):
    os.environ |= {
        "RANK": str(options.node_rank),
        "WORLD_SIZE": str(options.nnodes * options.nproc_per_node),
        "MASTER_ADDR": options.master_addr,
        "MASTER_PORT": str(options.master_port),
    }
    os.execv(sys.executable, [sys.executable, "-u", options.script, *options.arguments])
""",
}


def without_torch(directory: Path) -> dict[str, str]:
    """An Environment that replaces torch for jobs, because its import takes seconds.

    The toolkit reads its version; torchrun starts one process and passes its rank.
    """
    for name, text in _STAND_IN.items():
        path = directory / "stand-in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"PYTHONPATH": str(directory / "stand-in")}


def archive(path: Path, files: dict[str, str]) -> Path:
    """A .tar.gz of text files."""
    staging = path.with_suffix(".d")
    for name, text in files.items():
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_text(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for entry in sorted(staging.iterdir()):
            tar.add(entry, arcname=entry.name)
    shutil.rmtree(staging)
    return path


def environment_with_repository() -> dict[str, str]:
    """The environment of a Python program that imports localcloud from this working tree."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[5])}


def server_to_kill(kind: str, directory: Path, parameters: dict[str, Any]) -> subprocess.Popen[str]:
    """Start server_to_kill.py, which runs one training job or one fleet."""
    program = str(Path(__file__).with_name("server_to_kill.py"))
    return subprocess.Popen(
        [sys.executable, program, kind, str(directory), json.dumps(parameters)],
        env=environment_with_repository(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; fail with `what` if it never does."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.02)


def processes_naming(text: str) -> list[int]:
    """The living processes, other than this one, whose environment or command line holds the text."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if text.encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
