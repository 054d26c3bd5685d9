"""Kill what a run depends on: each ends in a clear failure or a recovery, and nothing half-made is left."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from localcloud import control
from tests.e2e.conftest import Answer
from tests.e2e.test_upload_to_text import lexline
from tests.stack import TINY, DeployedStack, deploy

LONG = {**TINY, "Epochs": "1000"}


def processes(root: int, words: str) -> list[psutil.Process]:
    """The live descendants of `root` whose command line holds `words`."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        try:
            if words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def eventually(what: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def started_by_upload(stack: DeployedStack, dataset: str, corpus: bytes) -> str:
    """Upload, and answer the ARN of the execution which that starts."""
    known = set(stack.executions())
    stack.upload(dataset, "corpus.txt", corpus)
    eventually(lambda: bool(set(stack.executions()) - known))
    (execution,) = set(stack.executions()) - known
    return execution


def training_script(stack: DeployedStack) -> psutil.Process:
    """The training script's process, once it trains."""
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [
            process
            for process in processes(stack.cloud.pid, "train.py")
            if process.memory_info().rss > 150 * 2**20  # torch is loaded: it is the script, and not a wrapper
        ]
        return bool(found)

    eventually(look)
    return found[0]


def test_a_killed_training_process_fails_the_run_and_leaves_nothing(
    stack: DeployedStack, corpus: bytes, made: Callable[[], set[str]]
) -> None:
    assert stack.wait(started_by_upload(stack, "killed", corpus))["status"] == "SUCCEEDED"
    before = made()
    execution = stack.start({"dataset": "killed", "hyperparameters": {"epochs": 1000}})
    training_script(stack).kill()
    ended = stack.wait(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "TrainingFailed")
    assert "SIGKILL" in ended["cause"] or "signal 9" in ended["cause"], ended["cause"]
    assert made() == before
    assert processes(stack.cloud.pid, "train.py") == []


def test_a_killed_endpoint_process_comes_back(
    stack: DeployedStack, api: Callable[..., Answer], corpus: bytes
) -> None:
    """A request meanwhile gets an answer it can understand, never a wrong one."""
    for running in stack.executions():
        stack.wait(running)
    assert stack.wait(started_by_upload(stack, "served", corpus))["status"] == "SUCCEEDED"
    assert api("POST", "/generate", {"seed": 1})[0] == 200
    (server,) = (p for p in processes(stack.cloud.pid, "inference_server.py") if not is_supervisor(p))
    server.kill()
    statuses = []
    deadline = time.monotonic() + 60
    while not statuses or statuses[-1] != 200:
        assert time.monotonic() < deadline, statuses
        time.sleep(0.3)  # stays under the usage plan's rate, which would answer 429
        status, answer = api("POST", "/generate", {"seed": 1})
        statuses.append(status)
        assert status in (200, 424, 502, 503), answer
    assert not server.is_running()  # it was another process that answered
    sagemaker = stack.cloud.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=stack.outputs["EndpointName"])
    assert endpoint["EndpointStatus"] == "InService"


def is_supervisor(process: psutil.Process) -> bool:
    return "supervisor.py" in " ".join(process.cmdline())


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[DeployedStack]:
    """A local cloud that a test may kill."""
    home = tmp_path / "home"
    yield deploy(control.start(home, owner=os.getpid()), LONG)
    control.stop(home)


def test_a_killed_local_cloud_takes_everything_with_it_and_starts_again_clean(
    own_stack: DeployedStack, corpus: bytes
) -> None:
    started_by_upload(own_stack, "lost", corpus)
    script = training_script(own_stack)
    server = psutil.Process(own_stack.cloud.pid)
    tree = [server, script, *server.children(recursive=True)]
    port = int(own_stack.cloud.endpoint_url.rsplit(":", 1)[1])

    server.kill()

    psutil.wait_procs(tree, timeout=240)
    assert [process for process in tree if process.is_running()] == []
    assert port not in {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    told = lexline(own_stack, "status")
    assert "lexline up" in told.stdout + told.stderr
    again = control.start(own_stack.cloud.state_dir, owner=os.getpid())
    assert again.client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert again.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert again.client("s3").list_buckets()["Buckets"] == []
