"""A fleet in AWS's Ray image is a Ray of its own, which keeps to itself and leaves nothing behind.

Other tests cover what it serves and how it recovers, through SageMaker's own interface.
"""

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud.sagemaker.processes.programs import ray_server
from localcloud.sagemaker.processes.programs.ray_server import cause, refusal
from steps.create_model import RAY_MODE
from tests.unit.localcloud.sagemaker.processes.helpers import archive, server_to_kill, wait_for

pytestmark = pytest.mark.usefixtures("only_ray")

CONTAINER = {
    "Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1",
    "ModelDataUrl": "s3://bucket/model.tar.gz",
    "Environment": RAY_MODE,
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


@pytest.mark.parametrize(
    ("message", "reason"),
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
def test_the_exception_in_serves_message_is_the_cause(message: str, reason: str) -> None:
    assert cause(message) == reason


@pytest.mark.parametrize(
    "name", ["RAY_SERVE_ENABLE_DIRECT_INGRESS", "RAY_SERVE_USE_GRPC_BY_DEFAULT", "RAY_USAGE_STATS_ENABLED"]
)
def test_ray_runs_here_only_in_the_mode_that_the_model_has_on_aws(name: str) -> None:
    """RAY_SERVE_THROUGHPUT_OPTIMIZED turns the modes on, unless the model turns them off."""
    assert refusal(RAY_MODE) is None
    without = {key: value for key, value in RAY_MODE.items() if key != name}
    for environment in (without, {**RAY_MODE, name: "1"}):
        assert refusal(environment) == (
            f"the local cloud runs Ray only with {name}=0: set it in the model's Environment"
        )


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[psutil.Process]]:
    """The processes of a Ray that serves a model. It leaves nothing behind when its server is killed."""
    directory = tmp_path_factory.mktemp("ray")
    archive(directory / "s3" / "bucket" / "model.tar.gz", MODEL)
    with server_to_kill("hosting", directory, CONTAINER) as server:
        assert server.stdout
        lines: set[str] = set()
        while not {"ready\n", "loaded w\n"} <= lines:
            lines.add(server.stdout.readline())
            assert "" not in lines, "the server ended"
        assert not [line for line in lines if line.startswith((":job_id:", ":actor_name:"))]
        (supervisor,) = psutil.Process(server.pid).children()
        found = lasting(supervisor)
        (folder,) = {Path(environment["TMPDIR"]) for environment in of_each(found, psutil.Process.environ)}
        assert list(folder.glob("ray/session_*"))
        # Sockets are in the folder, and Ray lets everybody write to its own.
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        yield found
        server.kill()
    # Not every machine's init collects its zombies.
    running = partial(of_each, found, psutil.Process.status)
    wait_for(lambda: set(running()) <= {psutil.STATUS_ZOMBIE}, "Ray's processes to end")
    wait_for(lambda: not folder.exists(), "Ray's files to be removed")


def lasting(supervisor: psutil.Process) -> list[psutil.Process]:
    """The supervisor's descendants, once Ray starts and ends no more of them."""
    found: list[psutil.Process] = []

    def as_before() -> bool:
        before = found[:]
        time.sleep(0.5)
        found[:] = supervisor.children(recursive=True)
        return found == before

    wait_for(as_before, "Ray to start all its processes")
    return found


def of_each(processes: list[psutil.Process], read: Callable[[psutil.Process], Any]) -> list[Any]:
    """What `read` returns for each process that still runs."""
    results = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            results.append(read(process))
    return results


def test_ray_listens_on_the_loopback_interface_on_ports_of_its_own(processes: list[psutil.Process]) -> None:
    connections = chain(*of_each(processes, lambda process: process.net_connections("inet")))
    listening = [each.laddr for each in connections if each.status == psutil.CONN_LISTEN]
    assert len(listening) > 5
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    fixed = {6379, 8000, 8265, 10001, 30000}  # below the ports that a system hands out
    assert fixed & {address.port for address in listening} == set()


def test_ray_obeys_its_own_processes_only(processes: list[psutil.Process]) -> None:
    environments = of_each(processes, psutil.Process.environ)[1:]
    assert {environment.get("RAY_AUTH_MODE") for environment in environments} == {"token"}
    assert {len(environment.get("RAY_AUTH_TOKEN", "")) for environment in environments} == {64}


def test_the_users_code_does_not_get_the_instances_token(processes: list[psutil.Process]) -> None:
    described = of_each(processes, lambda process: (" ".join(process.cmdline()), process.environ()))
    environments = [environment for words, environment in described if "ServeReplica" in words]
    assert environments
    assert not [environment for environment in environments if "LOCALCLOUD_TOKEN" in environment]


def test_ray_gets_an_interpreter_whose_path_has_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / "a folder" / ".venv"
    venv.create(environment, with_pip=False)
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    with tempfile.TemporaryDirectory(prefix="lexline-") as directory:
        interpreter = ray_server.interpreter_without_spaces(Path(directory))
        assert " " not in interpreter
        prefix = subprocess.run(
            [interpreter, "-c", "import os, sys; print(os.path.realpath(sys.prefix))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    assert prefix == os.path.realpath(environment)
