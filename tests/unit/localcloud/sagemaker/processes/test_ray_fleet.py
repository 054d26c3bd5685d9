"""A fleet in AWS's Ray image is a Ray of its own, which keeps to itself and leaves nothing behind.

What it serves, and how it recovers, is tested through SageMaker's own interface.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from localcloud.sagemaker.processes.fleet import Fleet, FleetFailed, FleetLaunch
from localcloud.sagemaker.processes.images import ImageNotFound, Runner, hosting_runner
from localcloud.sagemaker.processes.programs.ray_server import cause
from tests.unit.localcloud.sagemaker.processes.helpers import (
    AWS,
    DEADLINE,
    DirectoryStore,
    archive,
    environment_with_repository,
    wait_for,
)

pytestmark = pytest.mark.usefixtures("only_ray")

ECR = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
CONTAINER = {
    "Image": f"{ECR}/ray:serve-ml-sagemaker-cpu-v1",
    "ModelDataUrl": "s3://bucket/model.tar.gz",
    "Environment": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_LOG_TO_STDERR": "1"},
}
CONFIG = "applications: [{name: texts, route_prefix: /, import_path: 'app:app'}]"
APP = """
import os
from ray import serve
from words import greeting

class App:
    def __init__(self):
        with open(os.path.join(os.path.dirname(__file__), "..", "weights")) as file:
            self.weights = file.read()
        print("loaded", self.weights)

    async def __call__(self, request):
        return {"weights": self.weights, "greeting": greeting}

app = serve.deployment(ray_actor_options={"num_cpus": 0})(App).bind()
"""
MODEL = {
    "config.yaml": CONFIG,
    "weights": "w",
    "code/app.py": APP,
    "code/words.py": "greeting = 'hello'",
}


@pytest.mark.parametrize("tag", ["serve-ml-sagemaker-cpu-v1", "serve-ml-sagemaker-cuda-v1.3"])
def test_the_image_for_serving_with_ray_runs_ray_serve(tag: str) -> None:
    assert hosting_runner(f"{ECR}/ray:{tag}") is Runner.RAY_SERVE


@pytest.mark.parametrize("image", ["ray:serve-llm-cpu-v1", "ray", "ray-train:serve-ml-sagemaker-cpu-v1"])
def test_no_other_image_of_ray_does(image: str) -> None:
    with pytest.raises(ImageNotFound, match="does not exist"):
        hosting_runner(f"{ECR}/{image}")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "The deployment failed to start 1 times in a row.\nError:\nTraceback (most recent call last):\n"
            '  File "app.py", line 9, in __init__\n    raise ValueError("3 words")\nValueError: 3 words\n',
            "loading the model raised ValueError: 3 words",
        ),
        ("Deployment 'App' asks for 9 CPUs.", "Deployment 'App' asks for 9 CPUs."),
    ],
    ids=["an exception", "no exception"],
)
def test_of_what_serve_says_the_exception_is_the_reason(message: str, said: str) -> None:
    assert cause(message) == said


def test_a_model_without_config_yaml_fails_the_fleet(tmp_path: Path) -> None:
    archive(tmp_path / "s3" / "bucket" / "model.tar.gz", {"code/app.py": APP})
    launch = FleetLaunch(
        "endpoint", "AllTraffic", "model", CONTAINER, 1, tmp_path / "fleet", AWS, lambda *line: None
    )
    fleet = Fleet(launch, store=DirectoryStore(tmp_path / "s3"))
    fleet.start()
    with pytest.raises(FleetFailed, match=r"the model archive has no config\.yaml at its root"):
        fleet.wait_ready(DEADLINE)
    fleet.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[psutil.Process]]:
    """The processes of a Ray that serves a model. It leaves nothing behind when its server is killed."""
    directory = tmp_path_factory.mktemp("ray")
    archive(directory / "s3" / "bucket" / "model.tar.gz", MODEL)
    with subprocess.Popen(
        [
            *(sys.executable, str(Path(__file__).with_name("server_to_kill.py"))),
            *("hosting", str(directory), json.dumps(CONTAINER)),
        ],
        env=environment_with_repository(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        said = []
        for line in server.stdout:
            said.append(line)
            if line == "ready\n":
                break
        assert said[-1:] == ["ready\n"]
        assert "loaded w\n" in said
        assert not [line for line in said if line.startswith((":job_id:", ":actor_name:"))]
        (supervisor,) = psutil.Process(server.pid).children()
        processes = lasting(supervisor)
        folder = temporary(processes)
        assert list(folder.glob("session_*"))
        yield processes
        server.kill()
    psutil.wait_procs(processes, timeout=DEADLINE)
    assert [process for process in processes if process.is_running()] == []
    wait_for(lambda: not folder.exists(), "its files to go")


def lasting(supervisor: psutil.Process) -> list[psutil.Process]:
    """The processes under it. Ray starts some that only start another, and are gone in a moment."""
    found: list[psutil.Process] = []

    def as_before() -> bool:
        before = found[:]
        time.sleep(0.5)
        found[:] = supervisor.children(recursive=True)
        return found == before

    wait_for(as_before, "Ray's processes to be all there")
    return found


def temporary(processes: list[psutil.Process]) -> Path:
    """The one folder that processes have for their files."""
    (folder,) = {process.environ()["TMPDIR"] for process in processes}
    return Path(folder)


def test_ray_listens_on_the_loopback_interface_on_ports_of_its_own(
    served: list[psutil.Process],
) -> None:
    listening = [
        connection.laddr
        for process in served
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    fixed = {6379, 8000, 8265, 10001, 30000}  # below the ports that a system hands out
    assert fixed & {address.port for address in listening} == set()


def test_ray_takes_orders_from_its_own_processes_only(served: list[psutil.Process]) -> None:
    settings = [process.environ() for process in served]
    assert {setting.get("RAY_AUTH_MODE") for setting in settings[1:]} == {"token"}
    assert {len(setting.get("RAY_AUTH_TOKEN", "")) for setting in settings[1:]} == {64}


def test_the_users_code_is_not_told_the_instances_token(served: list[psutil.Process]) -> None:
    replica = next(process for process in served if "ServeReplica" in " ".join(process.cmdline()))
    assert "LOCALCLOUD_TOKEN" not in replica.environ()
