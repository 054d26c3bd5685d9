"""kill -9 on a job, an inference server and the cloud: a clear failure or a recovery, and nothing left."""

import os
import signal
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud import control
from localcloud.control import LocalCloud
from tests.integration.lab import Lab
from tests.integration.sagemaker.conftest import Sagemaker, Until, alive

RUN = uuid.uuid4().hex[:8]


def processes_of(server: int, variable: str, value: str, program: str) -> list[psutil.Process]:
    """The server's descendants that run `program` with this environment variable."""
    found = []
    for process in psutil.Process(server).children(recursive=True):
        try:
            marked = process.environ().get(variable) == value
            if marked and any(program in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_killed_training_script_fails_its_job(
    cloud: LocalCloud, sagemaker: Sagemaker, until: Until
) -> None:
    name = f"job-killed-{RUN}"
    sagemaker.api.create_training_job(**sagemaker.training(name, mode="forever"))
    sagemaker.await_job(name, "Training")
    scripts = until(
        lambda: processes_of(cloud.pid, "TRAINING_JOB_NAME", name, "train.py"), "the script to run"
    )
    scripts[-1].send_signal(signal.SIGKILL)
    job = sagemaker.await_job(name, "Failed", "Completed", "Stopped")
    assert job["TrainingJobStatus"] == "Failed"
    assert "SIGKILL" in job["FailureReason"]
    assert processes_of(cloud.pid, "TRAINING_JOB_NAME", name, "") == []


def test_a_killed_inference_server_is_restarted(
    cloud: LocalCloud, sagemaker: Sagemaker, until: Until
) -> None:
    name, model = f"killed-{RUN}", f"killed-{RUN}"
    sagemaker.endpoint(name, sagemaker.config(model))
    (server,) = processes_of(cloud.pid, "LEXLINE_MODEL", model, "inference_server")[-1:]
    server.send_signal(signal.SIGKILL)

    def model_served() -> Any:
        try:
            return sagemaker.invoke(name)["model"]
        except (sagemaker.runtime.exceptions.ModelError, sagemaker.runtime.exceptions.ServiceUnavailable):
            # The request that meets the container's end fails, and no instance takes one while it is down.
            return None

    until(lambda: not alive(server), "the death of the server")
    assert until(model_served, "the endpoint to respond again") == model
    assert sagemaker.await_endpoint(name, "InService")["EndpointStatus"] == "InService"
    sagemaker.delete(name)
    assert processes_of(cloud.pid, "LEXLINE_MODEL", model, "") == []


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_no_job_and_no_endpoint_outlives_the_cloud(
    tmp_path: Path, lab: Lab, make_sagemaker: Any, until: Until, how: str
) -> None:
    cloud = control.start(tmp_path / "state", owner=os.getpid())
    try:
        sagemaker = make_sagemaker(cloud.client, type(lab)(cloud))
        sagemaker.api.create_training_job(**sagemaker.training("job", mode="forever"))
        sagemaker.api.create_endpoint(EndpointName="served", EndpointConfigName=sagemaker.config("model"))
        sagemaker.await_job("job", "Training")
        sagemaker.await_endpoint("served", "InService")
        tree = psutil.Process(cloud.pid).children(recursive=True)
        os.kill(cloud.pid, getattr(signal, how))
        until(lambda: not any(map(alive, tree)), "every process to end")
    finally:
        control.stop(tmp_path / "state")
    until(lambda: not (tmp_path / "state").exists(), "the state directory to be removed")
