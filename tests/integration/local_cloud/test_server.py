"""The local cloud's process: where it listens, what it stores, and that nothing remains after its end."""

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from localcloud import control
from localcloud.control import LocalCloud, LocalCloudError
from tests.integration.lab import Lab, allow
from tests.waiting import wait_until

ROOT = Path(control.__file__).resolve().parent.parent
SLEEP = "import time; time.sleep(3600)"
SLEEPING_FUNCTION = f"def handler(event, context): {SLEEP}"
# Training starts processes of its own, one of them in another session.
TRAIN = f"""
import subprocess, sys, time
for session in (False, True):
    subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=session)
time.sleep(3600)
"""
SERVE = """
def model_fn(model_dir): return "model"
def input_fn(body, content_type): return body
def predict_fn(data, model): return model
def output_fn(prediction, accept): return prediction
"""
REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "state"
    yield path
    control.stop(path)


# --- where it listens, and what it stores ---


def tree(cloud: LocalCloud) -> list[psutil.Process]:
    server = psutil.Process(cloud.pid)
    return [server, *server.children(recursive=True)]


def commands(cloud: LocalCloud) -> list[str]:
    """The command lines of the server and of every process that it started."""
    lines = []
    for process in tree(cloud):
        with contextlib.suppress(psutil.NoSuchProcess):
            lines.append(" ".join(process.cmdline()))
    return lines


def test_it_listens_on_loopback_only(cloud: LocalCloud) -> None:
    listening = set()
    for process in tree(cloud):
        with contextlib.suppress(psutil.NoSuchProcess):
            listening |= {
                (connection.laddr.ip, connection.laddr.port)
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN or not connection.raddr
            }
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert int(cloud.endpoint_url.rsplit(":", 1)[1]) in {port for _, port in listening}


def test_only_its_owner_can_read_its_state_and_its_secret(cloud: LocalCloud, lab: Lab) -> None:
    assert stat.S_IMODE(cloud.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((cloud.state_dir / "server.json").stat().st_mode) == 0o600
    assert cloud.secret_access_key not in "".join([*commands(cloud), lab.server_log(), repr(cloud)])


def test_objects_are_below_the_state_directory(cloud: LocalCloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="where-objects-are")
    s3.put_object(Bucket="where-objects-are", Key="uploads/a b.txt", Body=b"text")
    files = [path.read_bytes() for path in (cloud.state_dir / "s3").rglob("*") if path.is_file()]
    assert b"text" in files


# --- its end ---


def archive(path: str, text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo(path)
        entry.size = len(text.encode())
        tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def start_training(lab: Lab) -> None:
    """Create a training job that starts two processes."""
    lab.client("s3").put_object(Bucket="busy", Key="sourcedir.tar.gz", Body=archive("train.py", TRAIN))
    lab.client("sagemaker").create_training_job(
        TrainingJobName="busy",
        RoleArn=lab.role("sagemaker.amazonaws.com", allow("s3:*"), allow("ecr:*")),
        AlgorithmSpecification={
            "TrainingImage": f"{REGISTRY}/pytorch:2.13-cpu-amzn2023-sagemaker",
            "TrainingInputMode": "File",
        },
        HyperParameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "s3://busy/sourcedir.tar.gz",
        },
        OutputDataConfig={"S3OutputPath": "s3://busy/runs"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )


def start_serving(lab: Lab) -> None:
    """Create an endpoint."""
    sagemaker = lab.client("sagemaker")
    lab.client("s3").put_object(Bucket="busy", Key="model.tar.gz", Body=archive("code/generate.py", SERVE))
    variables = {"SAGEMAKER_PROGRAM": "generate.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    sagemaker.create_model(
        ModelName="busy",
        ExecutionRoleArn=lab.role("sagemaker.amazonaws.com", allow("s3:*"), allow("ecr:*")),
        PrimaryContainer={
            "Image": f"{REGISTRY}/pytorch-inference:2.6-cpu-py312",
            "ModelDataUrl": "s3://busy/model.tar.gz",
            "Environment": variables,
        },
    )
    variant = {"VariantName": "AllTraffic", "ModelName": "busy", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="busy", ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName="busy", EndpointConfigName="busy")


def keep_busy(lab: Lab) -> None:
    """Start a training job, an endpoint and a function, and wait until all of them run."""
    lab.client("s3").create_bucket(Bucket="busy")
    start_training(lab)
    start_serving(lab)
    task = {"Type": "Task", "Resource": lab.function(SLEEPING_FUNCTION, Timeout=900), "End": True}
    lab.start(lab.machine({"StartAt": "Sleep", "States": {"Sleep": task}}))

    def all_run() -> bool:
        lines = commands(lab.cloud)
        endpoint = lab.client("sagemaker").describe_endpoint(EndpointName="busy")
        return (
            sum(SLEEP in line for line in lines) == 2
            and any(line.endswith("_worker.py") for line in lines)
            and endpoint["EndpointStatus"] == "InService"
        )

    wait_until(all_run, "training, endpoint and function")


def temporary_folders(processes: list[psutil.Process]) -> set[Path]:
    """The folders for temporary files of the server's children."""
    folders = set()
    for process in processes[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            folders.add(Path(process.environ().get("TMPDIR", "/tmp")))
    return folders


def stray_files() -> set[Path]:
    """Files in the folder that MiniStack uses unless an option names another."""
    return set(Path("/tmp").glob("ministack-*"))


@pytest.mark.parametrize("end", ["stop", "kill -9", "the owner's end"])
def test_nothing_remains_after_its_end(state_dir: Path, end: str) -> None:
    strays = stray_files()
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as owner:
        try:
            cloud = control.start(state_dir, owner=owner.pid)
            keep_busy(Lab(cloud))
            processes = tree(cloud)
            folders = temporary_folders(processes)
            assert len(folders) > 1
            if end == "stop":
                control.stop(state_dir)
            elif end == "kill -9":
                os.kill(cloud.pid, signal.SIGKILL)
        finally:
            owner.kill()
    wait_until(lambda: not any(map(control.alive, processes)), "every process to end")
    assert control.load(state_dir) is None
    # The functions' folder is in the state directory. `stop` and the next start remove it.
    left = set() if end == "stop" else {state_dir / "tmp"}
    assert {path for path in folders if path.exists()} == left
    assert stray_files() <= strays
    control.stop(state_dir)
    assert not state_dir.exists()


def test_a_state_directory_has_one_server(cloud: LocalCloud) -> None:
    with pytest.raises(LocalCloudError, match="already runs"):
        control.start(cloud.state_dir)
    command = [sys.executable, "-m", "localcloud", "--state-dir", str(cloud.state_dir)]
    second = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert control.load(cloud.state_dir) == cloud


def test_two_starts_at_the_same_time_start_one_server(state_dir: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        starts = [threads.submit(control.start, state_dir, owner=os.getpid()) for _ in range(2)]
    failures = [start.exception() for start in starts if start.exception()]
    assert [type(failure) for failure in failures] == [LocalCloudError]
    (started,) = (start.result() for start in starts if not start.exception())
    assert control.load(state_dir) == started
